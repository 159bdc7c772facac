-- SPDX-License-Identifier: Apache-2.0
-- alc.specify(prompt, opts?): a query that the host may pass on to a person.

return function(prompt, opts)
  local copy = {underspecified = true}
  for key, value in pairs(opts or {}) do
    if key ~= "underspecified" then
      copy[key] = value
    end
  end
  return alc.llm(prompt, copy)
end
