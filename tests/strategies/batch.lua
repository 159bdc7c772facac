-- SPDX-License-Identifier: Apache-2.0
-- Batches, parallel queries with functions, and options.
local both = alc.llm_batch({{prompt = "one", system = "be brief"}, {prompt = "two", max_tokens = 7}})
local shouted = alc.parallel({"a", "b", "c"}, function(x, i) return i .. x end,
  {system = "s", post_fn = function(r, item) return item .. "=" .. r end})
local specified = alc.specify("what exactly?", {max_tokens = 3})
local grounded = alc.ground("is it so?")
return {both, shouted, specified, grounded, alc.parse_score("about 7 of 10")}
