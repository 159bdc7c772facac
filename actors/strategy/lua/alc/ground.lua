-- SPDX-License-Identifier: Apache-2.0
-- alc.ground(claim, opts?): a query whose answer should rest on sources.

return function(claim, opts)
  local copy = {grounded = true}
  for key, value in pairs(opts or {}) do
    if key ~= "grounded" then
      copy[key] = value
    end
  end
  return alc.llm(claim, copy)
end
