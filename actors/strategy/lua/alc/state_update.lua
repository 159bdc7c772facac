-- SPDX-License-Identifier: Apache-2.0
-- alc.state.update(key, fn, default?): replaces a value by fn of it.

return function(key, fn, default)
  local value = fn(alc.state.get(key, default))
  alc.state.set(key, value)
  return value
end
