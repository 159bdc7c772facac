-- SPDX-License-Identifier: Apache-2.0
-- Tries to ask where nothing can wait, and reads clocks there, which can.
local times = {}
local function shown(f) return tostring(setmetatable({}, {__tostring = f})) end
local _, first = pcall(shown, function() return alc.llm("x") end)
local text = shown(function()
  for i = 1, 3 do times[i] = os.time() end
  return "A B C"
end)
local _, second = pcall(table.concat, setmetatable({}, {__index = function() return alc.llm("x") end}), "", 1, 1)
return {first, second, text, #times, alc.llm("at " .. times[1])}
