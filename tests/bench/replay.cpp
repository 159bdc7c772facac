// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"
#include "tests/support/script_runner.hpp"

#include <chrono>
#include <stdexcept>

namespace muster::bench {

namespace {

constexpr int recorded_answers = 20'000;

/// A finished session with so many answers.
test::script_outcome recorded(test::script_runner& runner) {
  return runner.run("for i = 1, " + std::to_string(recorded_answers)
                    + " do alc.llm('question ' .. i) end return true");
}

} // namespace

group replay(const options& how) {
  test::script_runner runner;
  runner.max_slices = 10'000'000;
  runner.answer = [](const query& q) {
    answered_event out;
    out.query_id = q.id;
    out.response = std::string(250, '.');
    return out;
  };
  group out;
  test::script_outcome past;
  auto measure = [&] {
    if (past.events.empty())
      past = recorded(runner);
    auto begin = std::chrono::steady_clock::now();
    auto report = runner.replay(past);
    std::chrono::duration<double> took
      = std::chrono::steady_clock::now() - begin;
    if (!std::holds_alternative<strategy_step>(report))
      throw std::runtime_error{"the replay did not come to its end"};
    return recorded_answers / took.count();
  };
  out.rows.push_back(
    run_alone(how, {"replay", "answers/s", measure}, how.rounds));
  out.bars.push_back({"replay", true, 100'000, {}});
  return out;
}

} // namespace muster::bench
