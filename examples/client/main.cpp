// SPDX-License-Identifier: Apache-2.0

// Starts a strategy on a node, answers what it asks, and prints its result. If
// the node is killed and started again meanwhile, nothing of that is seen here.

#include <chrono>
#include <iostream>
#include <muster/client.hpp>
#include <muster/find_node.hpp>

namespace {

using namespace std::chrono_literals;

constexpr const char* strategy = R"lua(
local fruits = {}
for fruit in alc.llm("Name fruits for a salad."):gmatch("%a+") do
  fruits[#fruits + 1] = fruit
end
return alc.parallel(fruits, function(fruit)
  return "How much of this: " .. fruit
end)
)lua";

// Stands in for a language model.
std::string answer_to(const muster::query& q) {
  return q.prompt.starts_with("Name") ? "apple, pear" : "one";
}

int complain(const muster::failure& why) {
  std::cerr << to_string(why.code) << ": " << why.message << "\n";
  return 1;
}

} // namespace

int main(int argc, char** argv) {
  // Where the node keeps everything; empty for one that $MUSTER_NODE names.
  std::string state_directory = argc > 1 ? argv[1] : "";
  muster::client_options options;
  // Asked again when the node has gone: it may come back on another port.
  options.find = [=] { return muster::find_node({}, state_directory); };
  auto node = muster::client::connect(options);
  if (!node)
    return complain(node.error());
  muster::session_spec spec;
  spec.code = strategy;
  auto session = (*node)->start(spec, {60s});
  while (session && session->phase == muster::session_phase::paused) {
    std::vector<muster::answer> answers;
    for (auto& q : session->queries) {
      answers.push_back({q.id, answer_to(q), {}});
      std::cout << q.prompt << " " << answers.back().response << "\n";
    }
    session = (*node)
                ->feed(session->session_id, answers, {60s})
                .map([](auto&& reply) { return reply.session; });
  }
  if (!session)
    return complain(session.error());
  std::cout << to_string(session->phase) << ": " << session->result << "\n";
  return session->phase == muster::session_phase::done ? 0 : 1;
}
