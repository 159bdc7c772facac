-- SPDX-License-Identifier: Apache-2.0
-- Sorts a large unbalanced array with a consistent comparator that counts.
local items = {}
for i = 1, 400 do items[i] = {key = (i * i) % 37, number = i} end
local calls = 0
table.sort(items, function(a, b)
  calls = calls + 1
  if calls % 150 == 0 then alc.llm("comparison " .. calls .. " of " .. a.number .. " and " .. b.number) end
  return a.key < b.key
end)
local order = {}
for i, item in ipairs(items) do order[i] = item.number end
return alc.llm(calls .. " comparisons: " .. table.concat(order, " "))
