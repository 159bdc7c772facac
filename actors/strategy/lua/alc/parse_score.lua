-- SPDX-License-Identifier: Apache-2.0
-- alc.parse_score(text, default?): the first number in a text, from 1 to 10.

return function(text, default)
  local digits = tostring(text):match("%d+")
  if not digits then
    return default or 5
  end
  return math.max(1, math.min(10, tonumber(digits)))
end
