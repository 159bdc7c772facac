-- SPDX-License-Identifier: Apache-2.0
-- Goes through tables with keys of all kinds and asks in that order.
local votes = {}
for i = 1, 40 do votes["candidate " .. (i * 7919) % 41] = i end
votes[3], votes[1], votes[2.5], votes[true] = "c", "a", "b", "d"
local order = {}
for name in pairs(votes) do order[#order + 1] = tostring(name) end
local first = alc.llm("Who is first of " .. table.concat(order, ", ") .. "?")
local k = next(votes)
local seen = {}
while k ~= nil and #seen < 10 do
  seen[#seen + 1] = tostring(k)
  k = next(votes, k)
end
return {first = first, again = alc.llm(table.concat(seen, " ")), votes = #order}
