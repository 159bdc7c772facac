-- SPDX-License-Identifier: Apache-2.0
-- alc.budget_check(): whether the budget has room for another query.

return function()
  local left = alc.budget_remaining()
  if not left then
    return true
  end
  for _, limit in ipairs({"llm_calls", "elapsed_ms"}) do
    if type(left[limit]) == "number" and left[limit] <= 0 then
      return false
    end
  end
  return true
end
