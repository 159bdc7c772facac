-- SPDX-License-Identifier: Apache-2.0
-- Long searches end their turn in the middle, and replacements wait for
-- answers and read clocks.
local long = ("x"):rep(200)
local list = {tostring(long:find("x*x*y"))}
local answer = alc.llm("begin")
list[2] = ("a b " .. answer):gsub("%a+", function(word)
  list[#list + 1] = select(2, long:gsub("(x-)" .. word:sub(1, 1), word))
  return word == "b" and os.time() or alc.llm(word)
end)
for key, value in ("k1=v1, k2=" .. answer .. ";"):gmatch("(%w+)=([^,;]*)") do
  list[#list + 1] = key .. alc.llm(value)
end
local table_of = setmetatable({}, {__index = function(_, key) return alc.llm("[" .. key .. "]") end})
list[#list + 1] = ("one (two (three)) four"):gsub("%b()", table_of)
list[#list + 1] = select(2, pcall(string.gsub, "abc", "(b", "%1"))
list[#list + 1] = alc.llm("end " .. table.concat(list, "|"):sub(1, 500))
return list
