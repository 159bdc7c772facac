-- SPDX-License-Identifier: Apache-2.0
-- How deep calls nest in C is one thing that depends on where slices end: what
-- went to sleep in between takes up no room there.
local function depth(n)
  local ok, deepest = pcall(depth, n + 1)
  return ok and deepest or n
end

local found = "0"
for round = 1, 4 do
  local answer = alc.llm("round " .. round .. ": " .. found)
  local list = {alc.state.get("text") .. #answer}
  for i = 1, 120 do
    for _ = 1, 131 * i do end
    list[i + 1] = depth(0)
  end
  found = table.concat(list, " ")
end
return found
