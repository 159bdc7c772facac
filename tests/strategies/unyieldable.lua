-- SPDX-License-Identifier: Apache-2.0
-- Tries to ask where nothing can wait, and reads clocks there, which can.
local times = {}
local _, first = pcall(string.gsub, "abc", "%a", function(c) return alc.llm(c) end)
local text = ("a b c"):gsub("%a", function(c)
  times[#times + 1] = os.time()
  return c:upper()
end)
local _, second = pcall(table.concat, setmetatable({}, {__index = function() return alc.llm("x") end}), "", 1, 1)
return {first, second, text, #times, alc.llm("at " .. times[1])}
