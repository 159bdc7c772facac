-- SPDX-License-Identifier: Apache-2.0
-- Shows objects in every way that there is.
local object, other = {}, setmetatable({}, {__name = "thing"})
local ok, caught = pcall(error, object)
local text = string.format("%s %s %s %s", object, other, print, caught)
local answer = alc.llm("What are " .. text .. " and " .. tostring(coroutine.create(print)) .. "?")
return {answer, tostring(object), select(2, pcall(string.format, "%p", object))}
