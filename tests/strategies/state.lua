-- SPDX-License-Identifier: Apache-2.0
-- Shared state: reads, writes, counters, and a write that fails.
local before = alc.state.get("seen", "nothing")
alc.state.set("seen", {count = 1, names = {}})
alc.state.incr("visits", 2, 10)
local answer = alc.llm("before: " .. alc.json_encode(before) .. " now: " .. alc.json_encode(alc.state.get("seen")))
local fresh = alc.state.set_nx("seen", 1)
local again = alc.state.set_nx("other", 2)
alc.state.update("visits", function(n) return n * 2 end, 0)
local gone = alc.state.delete("seen")
local keys = alc.state.keys()
local failed = select(2, pcall(alc.state.incr, "text", 1))
alc.state.set("text", "no number")
failed = select(2, pcall(alc.state.incr, "text", 1))
return {answer, fresh, again, gone, keys, alc.state.has("other"), alc.state.get("visits"), failed, alc.llm("end")}
