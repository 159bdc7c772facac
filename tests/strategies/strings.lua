-- SPDX-License-Identifier: Apache-2.0
-- Text in and out: UTF-8, zeros, long answers, JSON both ways.
local odd = "zero \0 and \u{1F600} and \"quotes\" and \\ and \n"
local answer = alc.llm(odd)
local decoded = alc.json_decode('{"a":[],"b":{},"c":null,"d":[1,2.5,"x"],"e":-0.0,"f":1e300}')
decoded.extra = {nested = {deep = true}}
return {answer, alc.json_encode(decoded), decoded, #alc.llm(("long "):rep(2000))}
