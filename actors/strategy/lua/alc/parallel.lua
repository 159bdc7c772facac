-- SPDX-License-Identifier: Apache-2.0
-- alc.parallel(items, prompt_fn, opts?): one query for each item, asked at once.

local function to_query(made, index, opts)
  if type(made) == "string" then
    return {prompt = made, system = opts.system, max_tokens = opts.max_tokens}
  end
  if type(made) ~= "table" then
    error("alc.parallel: prompt_fn must return string or table, got "
          .. type(made) .. " at index " .. index, 3)
  end
  if not made.prompt then
    error("alc.parallel: prompt_fn returned table without .prompt at index "
          .. index, 3)
  end
  return made
end

return function(items, prompt_fn, opts)
  if type(items) ~= "table" or #items == 0 then
    error("alc.parallel: items must be a non-empty array", 2)
  end
  if type(prompt_fn) ~= "function" then
    error("alc.parallel: prompt_fn must be a function", 2)
  end
  opts = opts or {}
  local queries = {}
  for i, item in ipairs(items) do
    queries[i] = to_query(prompt_fn(item, i), i, opts)
  end
  local responses = alc.llm_batch(queries)
  if not opts.post_fn then
    return responses
  end
  local results = {}
  for i, response in ipairs(responses) do
    results[i] = opts.post_fn(response, items[i], i)
  end
  return results
end
