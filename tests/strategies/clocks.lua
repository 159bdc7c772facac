-- SPDX-License-Identifier: Apache-2.0
-- Everything that depends on the time.
local start = os.time()
local clock = os.clock()
local date = os.date("%H:%M:%S")
local answer = alc.llm("It is " .. date .. ", " .. alc.time() .. ", " .. clock)
local later = os.time() - start
return {answer, later, os.date("!%Y", 0), alc.llm("after " .. later .. " seconds, " .. os.clock())}
