-- SPDX-License-Identifier: Apache-2.0
-- Errors of every kind that a script can catch, shown to the host.
local errors = {}
local function try(f, ...) errors[#errors + 1] = tostring(select(2, pcall(f, ...))) end
try(error, "plain")
try(function() local x = nil; return x.field end)
try(function() return 1 + {} end)
try(string.rep, "x", -1, 5, {})
try(string.rep)
try(table.concat, {1, {}, 3})
try(setmetatable, {}, {__mode = "k"})
try(coroutine.resume, 1)
try(function() return #nil end)
try(string.format, "%d", "x")
try(math.random, 2, 1)
try(alc.llm)
try(alc.json_decode, "{")
try(alc.state.get)
return {alc.llm(table.concat(errors, "\n")), #errors}
