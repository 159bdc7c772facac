// SPDX-License-Identifier: Apache-2.0

// One fixed piece of work, again and again: each time another operation of the
// disk fails, until there is none left that has not.

#define CAF_SUITE simulation.operations

#include "tests/simulation/model.hpp"
#include "tests/support/node_bench.hpp"
#include "tests/support/suite.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <cerrno>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

/// What happens at the chosen operation.
enum class fault { io_error, no_room, kill, power_cut };

const char* script = R"lua(
local name = alc.llm("name?")
alc.state.incr("counter")
local both = alc.parallel({"left", "right"}, function(x) return x .. name end)
return {name, both, alc.llm("last")}
)lua";

/// The piece of work, done against all odds.
class life {
public:
  life(std::uint64_t operation, fault what) : what_(what) {
    bench_.settings.storage.checkpoint_pages = 10;
    bench_.disk.set_fault(
      [=, this](disk_operation, const std::string&, std::uint64_t number) {
        if (number != operation)
          return 0;
        was_hit_ = true;
        // The process or the machine is gone, in the middle of this.
        bench_.disk.is_off = what_ == fault::kill || what_ == fault::power_cut;
        return what_ == fault::no_room ? ENOSPC : EIO;
      });
  }

  /// @returns whether the operation was reached.
  bool live() {
    start();
    auto first = spawn();
    finish(first);
    auto second = spawn();
    cancel(second);
    stop();
    check(first, session_phase::done);
    check(second, session_phase::cancelled);
    // Those that came through without an acknowledgement have not got so far.
    auto counter = bench_.ask<state_value>(get_atom::value,
                                           state_key{"default", "counter"});
    if (!counter || !counter->value || json::parse(*counter->value) != 1)
      throw violation{"the counter is not 1"};
    return was_hit_;
  }

private:
  [[nodiscard]] bool is_dead() const {
    return bench_.has_died() || bench_.disk.is_off;
  }

  void start() {
    for (int attempt = 0; attempt < 3; ++attempt) {
      auto started = bench_.start();
      if (started && !is_dead())
        return;
      if (!started && !was_hit_)
        throw violation{"the node does not start: " + started.error().message};
      if (!started && !bench_.disk.is_off)
        model_.refused("(start)", started.error());
      crash();
    }
    throw violation{"the node does not start again"};
  }

  void crash() {
    if (what_ == fault::power_cut)
      bench_.cut_power();
    else
      bench_.kill();
    bench_.disk.is_off = false;
  }

  /// After a request that was not granted: there is a reason, and the node is
  /// there for the next one.
  void recover(const std::string& id, const failure& why) {
    if (++refusals_ > 5)
      throw violation{id + " is refused again and again: " + why.message};
    if (!is_dead()) {
      model_.refused(id, why);
      return;
    }
    crash();
    start();
  }

  std::string spawn() {
    for (;;) {
      auto id = bench_.spawn(script);
      if (id && !is_dead()) {
        model_.spawned(*id, "script");
        return *id;
      }
      recover("(new)", id ? failure{} : id.error());
    }
  }

  void finish(const std::string& id) {
    for (int round = 0; round < 50; ++round) {
      auto expected = model_.expectation_for(id);
      auto view = bench_.show(id);
      if (!view || is_dead()) {
        recover(id, view ? failure{} : view.error());
        continue;
      }
      model_.shown(expected, *view);
      if (is_terminal(view->phase))
        return;
      if (view->phase == session_phase::running) {
        bench_.advance(1s);
        if (is_dead())
          recover(id, {});
        continue;
      }
      feed(id, view->queries.front().id, round);
    }
    throw violation{id + " does not end"};
  }

  void feed(const std::string& id, const std::string& query_id, int round) {
    std::vector<answer> answers{
      {query_id, fmt::format("{} {}", query_id, round), std::nullopt}};
    model_.sends(id, query_id, answers[0].response);
    auto expected = model_.expectation_for(id);
    auto reply = bench_.ask<feed_reply>(
      feed_atom::value, id, answers,
      round % 2 == 0 ? feed_mode::next_event : feed_mode::accepted, once);
    if (reply && !is_dead())
      model_.fed(expected, answers, *reply);
    else
      recover(id, reply ? failure{} : reply.error());
  }

  void cancel(const std::string& id) {
    model_.cancels(id, "test");
    for (;;) {
      auto expected = model_.expectation_for(id);
      auto view = bench_.cancel(id);
      if (view && !is_dead()) {
        model_.shown(expected, *view);
        return;
      }
      recover(id, view ? failure{} : view.error());
    }
  }

  /// An ordered stop, or what is left of it; then the power goes as well.
  void stop() {
    try {
      bench_.stop();
    } catch (const std::exception&) {
      if (!was_hit_)
        throw;
    }
    bench_.cut_power();
    bench_.disk.is_off = false;
    start();
  }

  void check(const std::string& id, session_phase phase) {
    auto view = bench_.show(id);
    if (!view)
      throw violation{id + ": " + view.error().message};
    model_.shown(model_.expectation_for(id), *view);
    if (view->phase != phase)
      throw violation{id + " is " + to_string(view->phase)};
    auto transcript = bench_.ask<std::string>(transcript_atom::value, id);
    if (!transcript)
      throw violation{id + ": " + transcript.error().message};
    model_.told(id, *transcript);
  }

  node_bench bench_;
  model model_;
  fault what_;
  bool was_hit_ = false;
  int refusals_ = 0;
};

void fail_every_operation(fault what) {
  std::uint64_t n = 1;
  for (;; ++n) {
    try {
      if (!life{n, what}.live())
        break;
    } catch (const std::exception& error) {
      CAF_ERROR("operation " << n << ": " << error.what());
    }
    if (n > 5'000)
      CAF_FAIL("there is no end");
  }
  CAF_MESSAGE(n - 1 << " operations");
  CAF_CHECK(n > 100);
}

} // namespace

CAF_TEST(any operation of the disk may fail once) {
  fail_every_operation(fault::io_error);
}

CAF_TEST(any operation may find no room) {
  fail_every_operation(fault::no_room);
}

CAF_TEST(the process may be killed at any operation) {
  fail_every_operation(fault::kill);
}

CAF_TEST(the power may go at any operation) {
  fail_every_operation(fault::power_cut);
}
