-- SPDX-License-Identifier: Apache-2.0
-- A scheduler of its own, in which each task asks.
local tasks, log = {}, {}
for name = 1, 4 do
  tasks[name] = coroutine.create(function()
    for turn = 1, 2 do
      local answer = alc.llm("task " .. name .. " turn " .. turn)
      log[#log + 1] = name .. ":" .. #answer
      coroutine.yield(turn)
    end
    return "done " .. name
  end)
end
local running = true
while running do
  running = false
  for _, task in ipairs(tasks) do
    if coroutine.status(task) == "suspended" then
      running = true
      assert(coroutine.resume(task))
    end
  end
end
return log
