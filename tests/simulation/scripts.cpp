// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/scripts.hpp"

namespace muster::test {

const std::vector<simulated_script>& simulated_scripts() {
  static const std::vector<simulated_script> all{
    {.name = "one query", .code = R"lua(
return {{"only", alc.llm("only")}}
)lua"},
    {.name = "a chain of queries", .code = R"lua(
local log, last = {}, "start"
for i = 1, 4 do
  local prompt = i .. " after " .. last
  last = alc.llm(prompt)
  log[i] = {prompt, last}
end
return log
)lua"},
    {.name = "batches", .code = R"lua(
local log = {}
for round = 1, 2 do
  local prompts = {}
  for i = 1, 3 do prompts[i] = round .. "/" .. i .. "/" .. #log end
  local responses = alc.parallel(prompts, function(x) return x end)
  for i, response in ipairs(responses) do
    log[#log + 1] = {prompts[i], response}
  end
end
return log
)lua"},
    {.name = "a shared counter",
     .code = R"lua(
local log = {}
for i = 1, 3 do
  alc.state.incr("counter")
  alc.state.incr("counter")
  log[i] = {"count " .. i, alc.llm("count " .. i)}
end
return log
)lua",
     .counts_per_query = 2},
    {.name = "a shared list",
     .code = R"lua(
local log = {}
for i = 1, 2 do
  local list = alc.state.get("list") or {}
  list[#list + 1] = i
  alc.state.set("list", list)
  log[i] = {"list " .. i, alc.llm("list " .. i)}
end
return log
)lua",
     .lists = true},
    {.name = "everything that could differ", .code = R"lua(
local log = {}
local function ask(prompt)
  local response = alc.llm(prompt)
  log[#log + 1] = {prompt, response}
  return response
end
local producer = coroutine.wrap(function()
  for i = 1, 2 do
    coroutine.yield(ask("in a coroutine at " .. alc.time() .. ": "
                        .. math.random(1000000)))
  end
end)
local seen = {[producer()] = true, [producer()] = true, x = 1, [7] = 2}
local keys = {}
for key in pairs(seen) do keys[#keys + 1] = tostring(key) end
local _, caught = pcall(function()
  error({ask("in pcall: " .. table.concat(keys, ","))})
end)
ask("an object: " .. tostring(caught) .. os.date("!%S"))
return log
)lua"},
    {.name = "an end in an error",
     .code = R"lua(
error("ended with " .. alc.llm("what error?"), 0)
)lua",
     .fails = true},
    {.name = "no end",
     .code = R"lua(
alc.llm("the last one")
while true do end
)lua",
     .never_ends = true},
  };
  return all;
}

} // namespace muster::test
