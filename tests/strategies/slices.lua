-- SPDX-License-Identifier: Apache-2.0
-- Works for many slices in nested coroutines, and asks in between.
local function work(n)
  local sum = 0
  for i = 1, n do sum = (sum * 31 + i) % 1000003 end
  return sum
end
local producer = coroutine.wrap(function()
  for round = 1, 3 do
    local inner = coroutine.wrap(function()
      coroutine.yield(work(50000 + round))
      coroutine.yield(alc.llm("inner " .. round .. ": " .. work(1000)))
    end)
    coroutine.yield(inner())
    coroutine.yield(inner())
  end
end)
local got = {}
for i = 1, 6 do got[i] = tostring(producer()) end
return {got = got, last = alc.llm(table.concat(got, "|") .. work(100))}
