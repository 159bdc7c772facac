-- SPDX-License-Identifier: Apache-2.0
-- Random numbers of the session, of a seed, and seeded anew.
local a = math.random(1000000)
math.randomseed(42)
local b = math.random(1000000)
math.randomseed()
local c = math.random()
local answer = alc.llm(a .. " " .. b .. " " .. c)
math.randomseed(os.time())
return {answer, alc.llm(tostring(math.random()))}
