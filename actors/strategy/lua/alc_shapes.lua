-- SPDX-License-Identifier: Apache-2.0
-- alc_shapes: descriptions of what a package takes and gives.
--
-- A schema is a plain table with a `kind`. Packages declare theirs when they
-- are loaded; `check` compares a value with one. `instrument` looks at the
-- declaration only: values are checked where a package asks for it.

local S = {}

local schema = {}
schema.__index = schema

local function make(fields)
  return setmetatable(fields, schema)
end

local function is_schema(value)
  return type(value) == "table" and rawget(value, "kind") ~= nil
end

local function expect_schema(value, who)
  if not is_schema(value) then
    error(who .. ": expected a schema, got " .. type(value), 3)
  end
  return value
end

-- Both give a new schema around the old one, which stays as it is.

function schema:describe(text)
  if type(text) ~= "string" then
    error("describe: expected a text, got " .. type(text), 2)
  end
  return make({kind = "described", inner = self, text = text})
end

function schema:is_optional()
  return make({kind = "optional", inner = self})
end

-- The schema without what was said about it, and whether it may be absent.
local function bare(s)
  local optional = false
  while s.kind == "described" or s.kind == "optional" do
    optional = optional or s.kind == "optional"
    s = s.inner
  end
  return s, optional
end

-- -- constructors --------------------------------------------------------------

local T = {
  string = make({kind = "prim", prim = "string"}),
  number = make({kind = "prim", prim = "number"}),
  boolean = make({kind = "prim", prim = "boolean"}),
  table = make({kind = "prim", prim = "table"}),
  any = make({kind = "any"}),
}

function T.shape(fields, opts)
  if type(fields) ~= "table" then
    error("T.shape: expected a table of fields, got " .. type(fields), 2)
  end
  local copy = {}
  for name, field in pairs(fields) do
    copy[name] = expect_schema(field, "T.shape: field '" .. tostring(name) .. "'")
  end
  return make({kind = "shape", fields = copy, open = opts ~= nil and opts.open == true})
end

function T.array_of(item)
  expect_schema(item, "T.array_of")
  local _, optional = bare(item)
  if optional then
    error("T.array_of: an item cannot be optional", 2)
  end
  return make({kind = "array_of", item = item})
end

function T.one_of(values)
  if type(values) ~= "table" or #values == 0 then
    error("T.one_of: expected a non-empty array", 2)
  end
  return make({kind = "one_of", values = values})
end

function T.map_of(key, value)
  return make({kind = "map_of", key = expect_schema(key, "T.map_of"),
               value = expect_schema(value, "T.map_of")})
end

function T.ref(name)
  if type(name) ~= "string" then
    error("T.ref: expected a name, got " .. type(name), 2)
  end
  return make({kind = "ref", name = name})
end

function T.discriminated(tag, variants)
  if type(tag) ~= "string" or type(variants) ~= "table" then
    error("T.discriminated: expected a field name and a table of variants", 2)
  end
  for name, variant in pairs(variants) do
    expect_schema(variant, "T.discriminated: variant '" .. tostring(name) .. "'")
  end
  return make({kind = "discriminated", tag = tag, variants = variants})
end

-- -- checking ------------------------------------------------------------------

local max_depth = 256

-- Shapes that `T.ref` names.
local named = {}

local function violation(path, text)
  return false, "shape violation at " .. path .. ": " .. text
end

local function shown(value)
  return type(value) == "string" and "'" .. value .. "'" or tostring(value)
end

local check_value

local function check_shape(value, s, path, depth)
  if type(value) ~= "table" then
    return violation(path, "expected table, got " .. type(value))
  end
  for name, field in pairs(s.fields) do
    local ok, reason = check_value(value[name], field, path .. "." .. tostring(name), depth)
    if not ok then
      return false, reason
    end
  end
  if not s.open then
    for name in pairs(value) do
      if s.fields[name] == nil then
        return violation(path .. "." .. tostring(name), "unexpected field")
      end
    end
  end
  return true
end

local function check_array(value, s, path, depth)
  if type(value) ~= "table" then
    return violation(path, "expected array, got " .. type(value))
  end
  for i, item in ipairs(value) do
    local ok, reason = check_value(item, s.item, path .. "[" .. i .. "]", depth)
    if not ok then
      return false, reason
    end
  end
  return true
end

local function check_one_of(value, s, path, depth)
  for _, allowed in ipairs(s.values) do
    if is_schema(allowed) then
      if check_value(value, allowed, path, depth) then
        return true
      end
    elseif value == allowed then
      return true
    end
  end
  return violation(path, shown(value) .. " is none of the allowed values")
end

local function check_map(value, s, path, depth)
  if type(value) ~= "table" then
    return violation(path, "expected map, got " .. type(value))
  end
  for key, item in pairs(value) do
    local at = path .. "." .. tostring(key)
    local ok, reason = check_value(key, s.key, at, depth)
    if ok then
      ok, reason = check_value(item, s.value, at, depth)
    end
    if not ok then
      return false, reason
    end
  end
  return true
end

local function check_discriminated(value, s, path, depth)
  if type(value) ~= "table" then
    return violation(path, "expected table, got " .. type(value))
  end
  local variant = s.variants[value[s.tag]]
  if not variant then
    return violation(path .. "." .. s.tag, shown(value[s.tag]) .. " names no variant")
  end
  return check_value(value, variant, path, depth)
end

local function check_ref(value, s, path, depth)
  if not named[s.name] then
    return violation(path, "there is no shape named '" .. s.name .. "'")
  end
  return check_value(value, named[s.name], path, depth)
end

local checks = {
  any = function() return true end,
  prim = function(value, s, path)
    if type(value) ~= s.prim then
      return violation(path, "expected " .. s.prim .. ", got " .. type(value))
    end
    return true
  end,
  shape = check_shape,
  array_of = check_array,
  one_of = check_one_of,
  map_of = check_map,
  discriminated = check_discriminated,
  ref = check_ref,
}

check_value = function(value, s, path, depth)
  if depth > max_depth then
    return violation(path, "nested too deeply")
  end
  local inner, optional = bare(s)
  if value == nil and optional then
    return true
  end
  local check = checks[inner.kind]
  if not check then
    return violation(path, "unknown kind of schema '" .. tostring(inner.kind) .. "'")
  end
  return check(value, inner, path, depth + 1)
end

-- A schema, or the name of one.
local function resolve(s)
  return type(s) == "string" and T.ref(s) or s
end

function S.check(value, s)
  s = resolve(s)
  if not is_schema(s) then
    error("S.check: expected a schema, got " .. type(s), 2)
  end
  return check_value(value, s, "$", 0)
end

function S.assert(value, s, hint)
  local ok, reason = S.check(value, s)
  if not ok then
    error(reason .. " (ctx: " .. tostring(hint) .. ")", 2)
  end
  return value
end

-- Checks that are for development only are off in a session.
function S.assert_dev(value)
  return value
end

-- -- packages ------------------------------------------------------------------

function S.instrument(package, entry, spec)
  if type(package) ~= "table" or type(package.meta) ~= "table"
      or type(package.meta.name) ~= "string" then
    error("S.instrument: the package needs a meta.name", 2)
  end
  if type(package[entry]) ~= "function" then
    error("S.instrument: package '" .. package.meta.name .. "' has no function '"
          .. tostring(entry) .. "'", 2)
  end
  local entries = package.spec and package.spec.entries or {}
  spec = spec or entries[entry] or {}
  if spec.input and spec.args then
    error("S.instrument: '" .. package.meta.name .. "." .. entry
          .. "' declares both input and args", 2)
  end
  return package[entry]
end

S.T = T

return S
