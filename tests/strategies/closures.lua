-- SPDX-License-Identifier: Apache-2.0
-- Closures, metatables, varargs, string methods and integer arithmetic.
local function counter()
  local n = 0
  return function(...) n = n + select("#", ...) return n end
end
local count = counter()
count(1, 2, nil)
local class = {}
class.__index = class
class.__add = function(a, b) return setmetatable({v = a.v + b.v}, class) end
class.__eq = function(a, b) return a.v == b.v end
class.__call = function(self, x) return self.v * x end
function class.new(v) return setmetatable({v = v}, class) end
local sum = class.new(3) + class.new(4)
local words = {}
for w in ("the quick brown fox"):gmatch("%a+") do words[#words + 1] = w:reverse() end
local packed = string.pack("<i4", 1 << 20)
return {
  count(), sum.v, sum == class.new(7), sum(6), words, 7 // 2, -7 // 2, -7 % 3, 1e15, 2^53, 10 / 2,
  math.maxinteger + 1 == math.mininteger, string.unpack("<i4", packed), utf8.char(228, 8364),
  alc.llm(table.concat(words, " ")), select(-1, "a", "b"), ("x"):rep(3, ","),
}
