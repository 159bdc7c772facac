-- SPDX-License-Identifier: Apache-2.0
-- Modules: from a folder, one that asks while it is loaded, one that is missing.
local kit = require("kit")
local deep = require("kit.deep")
local ok, missing = pcall(require, "no.such.module")
local optional = pcall(require, "kit.broken")
local S = require("alc_shapes")
local T = require("alc_shapes.t")
assert(T == S.T and require("kit") == kit)
local fine, why = S.check({name = 3}, T.shape({name = T.string}))
return {kit.greet("you"), deep, ok, missing, optional, fine, why, alc.llm("end")}
