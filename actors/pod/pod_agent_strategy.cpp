// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/pod_agent_strategy.hpp"

namespace muster {

namespace {

constexpr std::string_view text = R"lua(
-- The strategy of a pod that was given none.
--
-- A task that begins with `lua:` is a Lua text: it is run, and what it returns
-- is the result. It finds `ctx`, `alc`, `files` and `report`.
--
-- Of any other task it says what it is, and what stands in front of it: one
-- line for each rule of the scope, and below it what the target holds.

local prefix = "lua:"

if ctx.task:sub(1, #prefix) == prefix then
  local chunk, why = load(ctx.task:sub(#prefix + 1), "=task", "t")
  if not chunk then
    error(why, 0)
  end
  return chunk()
end

local lines = {"task: " .. ctx.task}

local function say(...)
  lines[#lines + 1] = string.format(...)
end

for _, rule in ipairs(ctx.scope) do
  local depth = rule.recursive and "" or ", one level"
  say("%s (%s%s):", rule.target, rule.permission, depth)
  local info, why = files.stat(rule.target)
  if not info then
    say("  %s", why)
  elseif info.type ~= "folder" then
    say("  %s of %d bytes", info.type, info.size)
  else
    local names, reason = files.list_dir(rule.target)
    if not names then
      say("  %s", reason)
    end
    for _, name in ipairs(names or {}) do
      say("  %s", name)
    end
  end
end

return table.concat(lines, "\n")
)lua";

} // namespace

std::string_view default_pod_strategy() {
  return text;
}

} // namespace muster
