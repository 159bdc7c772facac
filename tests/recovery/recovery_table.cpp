// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE recovery.table

#include "actors/recovery/recovery_table.hpp"

#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <random>

using namespace muster;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t ms = 1'000'000;

using slots = std::vector<std::uint8_t>;
using names = std::vector<std::string>;

const failure broken{errc::internal, "it threw"};

/// A registry whose handlers answer when a test says so.
struct fixture {
  recovery_settings settings;
  std::optional<recovery_table> made;
  std::int64_t now_ns = 9'000 * ms;
  recovery::ticket tickets = 0;

  std::vector<recovery::ask> asked;
  std::vector<recovery::forget> forgotten;
  std::vector<recovery::escalate> escalated;
  std::map<recovery::ticket, recovery_pass> results;
  std::map<recovery::ticket, failure> refusals;

  recovery_table& table() {
    if (!made)
      made.emplace(settings);
    return *made;
  }

  void take(recovery::effects effects) {
    for (auto& x : effects) {
      if (auto ask = std::get_if<recovery::ask>(&x))
        asked.push_back(*ask);
      else if (auto forget = std::get_if<recovery::forget>(&x))
        forgotten.push_back(*forget);
      else if (auto up = std::get_if<recovery::escalate>(&x))
        escalated.push_back(*up);
      else if (auto done = std::get_if<recovery::reply_pass>(&x))
        CAF_REQUIRE(results.emplace(done->to, done->result).second);
      else if (auto no = std::get_if<recovery::reply_refusal>(&x))
        refusals[no->to] = no->why;
    }
  }

  handler_registered add(const std::string& name,
                         handler_policy policy = handler_policy::evict,
                         const std::string& owner = "") {
    auto out = table().add({name, policy, 100ms, owner}, now_ns);
    CAF_REQUIRE(out);
    take(out->effects);
    return *out;
  }

  recovery::ticket pass() {
    asked.clear();
    take(table().begin_pass(++tickets, now_ns));
    return tickets;
  }

  void answer(handler_id id, std::uint64_t number, const slots& x) {
    take(table().answered(id, number, x, now_ns));
  }

  void fail_in(handler_id id, std::uint64_t number) {
    take(table().failed(id, number, broken, now_ns));
  }

  void wait(std::int64_t how_long_ms) {
    now_ns += how_long_ms * ms;
    take(table().on_time(now_ns));
  }

  std::vector<handler_id> whom() const {
    std::vector<handler_id> out;
    for (auto& x : asked)
      out.push_back(x.id);
    return out;
  }

  slots indices(recovery::ticket t) {
    CAF_REQUIRE(results.count(t) == 1);
    return results[t].indices();
  }

  handler_view view(const std::string& name) {
    for (auto& x : table().list(now_ns))
      if (x.name == name)
        return x;
    CAF_FAIL("there is no handler " << name);
    return {};
  }
};

using ids = std::vector<handler_id>;

} // namespace

CAF_TEST_FIXTURE_SCOPE(table_tests, fixture)

// -- what is easily done wrong ------------------------------------------------

CAF_TEST(R1 a pass collects what was put back and evicts what fails) {
  CAF_CHECK_EQUAL(table().size(), 0u);
  auto a = add("a");
  auto b = add("b");
  CAF_CHECK_EQUAL(a.count, 1u);
  CAF_CHECK_EQUAL(b.count, 2u);
  auto first = pass();
  CAF_CHECK(whom() == (ids{a.id, b.id}));
  CAF_CHECK_EQUAL(view("b").runs, 1u);
  answer(a.id, 1, {0, 1});
  CAF_CHECK(results.empty());
  fail_in(b.id, 1);
  CAF_CHECK(indices(first) == (slots{0, 1}));
  CAF_CHECK(results[first].failed == names{"b"});
  CAF_CHECK_EQUAL(table().size(), 1u);
  CAF_REQUIRE_EQUAL(forgotten.size(), 1u);
  CAF_CHECK_EQUAL(forgotten[0].name, "b");
  CAF_CHECK(forgotten[0].why == broken);
  auto second = pass();
  CAF_CHECK(whom() == ids{a.id});
  answer(a.id, 2, {0, 1});
  CAF_CHECK(indices(second) == (slots{0, 1}));
  CAF_CHECK_EQUAL(view("a").runs, 2u);
  CAF_CHECK_EQUAL(view("a").recovered, 4u);
  CAF_CHECK_EQUAL(table().counters().evicted, 1u);
  CAF_CHECK_EQUAL(table().counters().passes, 2u);
}

CAF_TEST(R2 a handler may register another one which is asked next time) {
  auto a = add("a");
  auto first = pass();
  auto b = add("b");
  CAF_CHECK_EQUAL(b.count, 2u);
  CAF_CHECK(whom() == ids{a.id});
  answer(a.id, 1, {7});
  CAF_CHECK(indices(first) == slots{7});
  CAF_CHECK_EQUAL(table().size(), 2u);
  auto second = pass();
  CAF_CHECK(whom() == (ids{a.id, b.id}));
  answer(b.id, 2, {99});
  answer(a.id, 2, {7});
  CAF_CHECK(indices(second) == (slots{7, 99}));
}

CAF_TEST(functions add and take out others while they run) {
  constexpr int many = 50;
  std::vector<std::string> runs;
  auto function = [&](std::string name, std::function<void()> work) {
    auto added
      = table().add({name, handler_policy::evict, 100ms, ""}, now_ns,
                    [&runs, name, work = std::move(work)](std::uint64_t) {
                      runs.push_back(name);
                      work();
                      return slots{};
                    });
    CAF_REQUIRE(added);
    take(added->effects);
  };
  auto take_out = [&](const std::string& name) {
    auto effects = table().remove(name, now_ns);
    CAF_REQUIRE(effects);
    take(*effects);
  };
  function("first", [&] {
    for (int i = 0; i < many; ++i)
      function(fmt::format("new-{}", i), [] {});
    take_out("new-0");
    take_out("second");
    take_out("first");
  });
  function("second", [] {});
  function("third", [] {});
  CAF_CHECK(indices(pass()).empty());
  CAF_CHECK(runs == (std::vector<std::string>{"first", "third"}));
  CAF_CHECK_EQUAL(table().size(), static_cast<std::size_t>(many));
  runs.clear();
  CAF_CHECK(indices(pass()).empty());
  CAF_REQUIRE_EQUAL(runs.size(), static_cast<std::size_t>(many));
  CAF_CHECK_EQUAL(runs.at(0), "third");
  CAF_CHECK_EQUAL(runs.at(1), "new-1");
  CAF_CHECK_EQUAL(view("new-1").runs, 1u);
}

CAF_TEST(R3 a registration does not wait for a handler that is slow) {
  auto a = add("a");
  pass();
  now_ns += 50 * ms;
  auto b = add("b");
  CAF_CHECK_EQUAL(b.count, 2u);
  CAF_CHECK(table().is_running());
  answer(a.id, 1, {});
  CAF_CHECK_EQUAL(view("a").runs, 1u);
  CAF_CHECK_EQUAL(view("a").last_ms, 50);
  CAF_CHECK_EQUAL(view("b").runs, 0u);
}

CAF_TEST(L4 a pass outlives handlers that fail and asks all others) {
  auto a = add("a");
  auto b = add("b");
  auto c = add("c");
  auto t = pass();
  fail_in(a.id, 1);
  fail_in(c.id, 1);
  answer(b.id, 1, {3});
  CAF_CHECK(indices(t) == slots{3});
  CAF_CHECK(results[t].failed == (names{"a", "c"}));
  pass();
  CAF_CHECK(whom() == ids{b.id});
}

CAF_TEST(L5 one answer that is empty makes no handler go) {
  auto a = add("a");
  auto t = pass();
  answer(a.id, 1, {});
  CAF_CHECK(indices(t).empty());
  CAF_CHECK_EQUAL(table().size(), 1u);
  CAF_CHECK(forgotten.empty());
}

// -- what is rarely tested ----------------------------------------------

CAF_TEST(an empty registry gives an empty result at once) {
  auto t = pass();
  CAF_CHECK(indices(t).empty());
  CAF_CHECK_EQUAL(results[t].number, 1u);
  CAF_CHECK(!table().is_running());
  CAF_CHECK(!table().limit_ns());
}

CAF_TEST(results stand in the order of registrations and not of answers) {
  auto a = add("a");
  auto b = add("b");
  auto c = add("c");
  auto t = pass();
  answer(c.id, 1, {5, 4});
  answer(a.id, 1, {9});
  answer(b.id, 1, {4});
  CAF_CHECK(indices(t) == (slots{9, 4, 5, 4}));
  CAF_CHECK((results[t].slots[1] == recovered_slot{"b", 4}));
  CAF_CHECK((results[t].slots[3] == recovered_slot{"c", 4}));
}

CAF_TEST(survivors come first and newcomers last) {
  auto a = add("a");
  auto b = add("b");
  auto c = add("c");
  pass();
  auto d = add("d");
  auto e = add("e");
  fail_in(b.id, 1);
  answer(c.id, 1, {});
  answer(a.id, 1, {});
  pass();
  CAF_CHECK(whom() == (ids{a.id, c.id, d.id, e.id}));
}

CAF_TEST(a pass that is asked for while one runs is that one) {
  auto a = add("a");
  auto first = pass();
  auto second = pass();
  CAF_CHECK(asked.empty());
  answer(a.id, 1, {2});
  CAF_CHECK(indices(first) == slots{2});
  CAF_CHECK(indices(second) == slots{2});
  CAF_CHECK_EQUAL(results[second].number, 1u);
  CAF_CHECK_EQUAL(view("a").runs, 1u);
  CAF_CHECK_EQUAL(view("a").recovered, 1u);
  CAF_CHECK_EQUAL(table().counters().passes, 1u);
}

CAF_TEST(only so many requests wait for a pass) {
  settings.max_waiting = 2;
  auto a = add("a");
  pass();
  pass();
  auto third = pass();
  CAF_CHECK_EQUAL(refusals[third].code, errc::overloaded);
  answer(a.id, 1, {});
  CAF_CHECK_EQUAL(results.size(), 2u);
}

// -- the slow -----------------------------------------------------------------

CAF_TEST(a handler that is late is not evicted and not asked again) {
  auto a = add("a");
  auto b = add("b");
  auto first = pass();
  answer(b.id, 1, {1});
  CAF_CHECK(table().limit_ns() == now_ns + 100 * ms);
  wait(99);
  CAF_CHECK(results.empty());
  wait(1);
  CAF_CHECK(indices(first) == slots{1});
  CAF_CHECK(results[first].late == names{"a"});
  CAF_CHECK(view("a").is_late);
  CAF_CHECK_EQUAL(table().size(), 2u);
  auto second = pass();
  CAF_CHECK(whom() == ids{b.id});
  CAF_CHECK_EQUAL(view("a").runs, 1u);
  // What it says counts in the pass in which it says so, at its place.
  answer(a.id, 1, {0});
  CAF_CHECK(!view("a").is_late);
  answer(b.id, 2, {1});
  CAF_CHECK(indices(second) == (slots{0, 1}));
  pass();
  CAF_CHECK(whom() == (ids{a.id, b.id}));
  CAF_CHECK_EQUAL(view("a").times_late, 1u);
}

CAF_TEST(what is said between two passes counts in the next one) {
  auto a = add("a");
  pass();
  wait(100);
  answer(a.id, 1, {6});
  auto second = pass();
  CAF_CHECK(whom() == ids{a.id});
  answer(a.id, 2, {7});
  CAF_CHECK(indices(second) == (slots{6, 7}));
  CAF_CHECK_EQUAL(view("a").recovered, 2u);
  auto third = pass();
  answer(a.id, 3, {});
  CAF_CHECK(indices(third).empty());
}

CAF_TEST(a handler that hangs for ever holds up nobody) {
  auto a = add("a");
  auto b = add("b");
  pass();
  answer(b.id, 1, {});
  wait(100);
  for (std::uint64_t n = 2; n < 20; ++n) {
    auto t = pass();
    CAF_CHECK(whom() == ids{b.id});
    answer(b.id, n, {1});
    CAF_CHECK(indices(t) == slots{1});
  }
  CAF_CHECK_EQUAL(view("a").runs, 1u);
  CAF_CHECK_EQUAL(view("a").times_late, 1u);
  // Once it ends, its policy decides.
  take(table().gone(a.id, broken, now_ns));
  CAF_CHECK_EQUAL(table().size(), 1u);
}

CAF_TEST(an answer that nobody waits for is ignored) {
  auto a = add("a");
  answer(a.id, 0, {1});
  answer(a.id, 1, {1});
  auto t = pass();
  answer(a.id, 7, {1});
  answer(77, 1, {1});
  CAF_CHECK(results.empty());
  answer(a.id, 1, {2});
  answer(a.id, 1, {3});
  fail_in(a.id, 1);
  CAF_CHECK(indices(t) == slots{2});
  CAF_CHECK_EQUAL(table().size(), 1u);
  auto next = pass();
  answer(a.id, 2, {});
  CAF_CHECK(indices(next).empty());
}

CAF_TEST(an answer with more slots than there can be is a failure) {
  auto a = add("a");
  auto t = pass();
  answer(a.id, 1, slots(257));
  CAF_CHECK(indices(t).empty());
  CAF_REQUIRE_EQUAL(forgotten.size(), 1u);
  CAF_CHECK_EQUAL(forgotten[0].why.code, errc::too_large);
}

// -- policies -----------------------------------------------------------------

CAF_TEST(a handler that goes down is evicted and the pass goes on) {
  auto a = add("a");
  auto b = add("b");
  auto t = pass();
  answer(b.id, 1, {1});
  take(table().gone(a.id, broken, now_ns));
  CAF_CHECK(indices(t) == slots{1});
  CAF_CHECK(results[t].failed == names{"a"});
  CAF_CHECK_EQUAL(table().size(), 1u);
  // Its name is free again.
  CAF_CHECK_EQUAL(add("a").count, 2u);
}

CAF_TEST(a handler in quarantine is asked again later and later) {
  settings.quarantine.jitter_percent = 0;
  auto a = add("a", handler_policy::quarantine);
  pass();
  fail_in(a.id, 1);
  CAF_CHECK_EQUAL(table().size(), 1u);
  CAF_CHECK_EQUAL(view("a").last_error, "it threw");
  CAF_CHECK(view("a").quarantine_ms == 500);
  wait(499);
  pass();
  CAF_CHECK(asked.empty());
  wait(1);
  CAF_CHECK(!view("a").quarantine_ms);
  pass();
  CAF_CHECK(whom() == ids{a.id});
  fail_in(a.id, 3);
  CAF_CHECK(view("a").quarantine_ms == 1'000);
  CAF_CHECK(forgotten.empty());
  CAF_CHECK_EQUAL(table().counters().failures, 2u);
}

CAF_TEST(a handler that went down in quarantine waits it out) {
  settings.quarantine.jitter_percent = 0;
  auto a = add("a", handler_policy::quarantine);
  pass();
  take(table().gone(a.id, broken, now_ns));
  wait(600);
  pass();
  CAF_CHECK(asked.empty());
  auto again = add("a", handler_policy::quarantine);
  CAF_CHECK_EQUAL(again.count, 1u);
  CAF_CHECK_EQUAL(view("a").runs, 1u);
  pass();
  CAF_CHECK(whom() == ids{again.id});
  take(table().gone(again.id, broken, now_ns));
  auto third = add("a", handler_policy::quarantine);
  CAF_CHECK(view("a").quarantine_ms == 1'000);
  pass();
  CAF_CHECK(asked.empty());
  wait(1'000);
  pass();
  CAF_CHECK(whom() == ids{third.id});
}

CAF_TEST(a failure that escalates is told and ends the handler) {
  auto a = add("a", handler_policy::escalate);
  auto t = pass();
  fail_in(a.id, 1);
  CAF_REQUIRE_EQUAL(escalated.size(), 1u);
  CAF_CHECK_EQUAL(escalated[0].name, "a");
  CAF_CHECK(escalated[0].why == broken);
  CAF_CHECK_EQUAL(table().size(), 0u);
  CAF_CHECK(results[t].failed == names{"a"});
}

CAF_TEST(a handler that fails behind its deadline meets its policy too) {
  auto a = add("a");
  pass();
  wait(100);
  fail_in(a.id, 1);
  CAF_CHECK_EQUAL(table().size(), 0u);
}

// -- coming and going ---------------------------------------------------------

CAF_TEST(a removed handler is not waited for and not heard) {
  auto a = add("a");
  auto b = add("b");
  auto t = pass();
  answer(b.id, 1, {1});
  auto removed = table().remove("a", now_ns);
  CAF_REQUIRE(removed);
  take(*removed);
  CAF_CHECK(indices(t) == slots{1});
  answer(a.id, 1, {0});
  auto again = table().remove("a", now_ns);
  CAF_CHECK(!again && again.error().code == errc::not_found);
  auto next = pass();
  answer(b.id, 2, {});
  CAF_CHECK(indices(next).empty());
}

CAF_TEST(what a removed handler had put back still counts) {
  auto a = add("a");
  auto b = add("b");
  auto t = pass();
  answer(a.id, 1, {0});
  take(*table().remove("a", now_ns));
  answer(b.id, 1, {1});
  CAF_CHECK(indices(t) == (slots{0, 1}));
}

CAF_TEST(a name is taken once) {
  add("a");
  auto second = table().add({"a", handler_policy::evict, 100ms, ""}, now_ns);
  CAF_CHECK(!second && second.error().code == errc::conflict);
  auto other = table().add({"a", handler_policy::evict, 100ms, "peer"}, now_ns);
  CAF_CHECK(!other && other.error().code == errc::conflict);
  CAF_CHECK_EQUAL(table().size(), 1u);
}

CAF_TEST(a registration of a peer goes with it and may be made again) {
  auto a = add("a", handler_policy::quarantine, "peer-1");
  auto b = add("b", handler_policy::evict, "peer-2");
  auto c = add("c");
  auto t = pass();
  answer(c.id, 1, {2});
  answer(b.id, 1, {1});
  take(table().peer_gone("peer-1", now_ns));
  CAF_CHECK(indices(t) == (slots{1, 2}));
  // That was no fault of the handler.
  CAF_CHECK(results[t].failed.empty());
  CAF_CHECK_EQUAL(table().size(), 2u);
  // Behind it comes the word that the actor itself is gone.
  take(table().gone(a.id, broken, now_ns));
  auto again = add("a", handler_policy::quarantine, "peer-1");
  CAF_CHECK_EQUAL(again.count, 3u);
  answer(a.id, 1, {0});
  auto next = pass();
  CAF_CHECK(whom() == (ids{b.id, c.id, again.id}));
  answer(again.id, 2, {5});
  answer(b.id, 2, {});
  answer(c.id, 2, {});
  CAF_CHECK(indices(next) == slots{5});
  // No peer is nobody's peer.
  take(table().peer_gone("", now_ns));
  CAF_CHECK_EQUAL(table().size(), 3u);
}

CAF_TEST(a peer that is back before its loss is heard registers again) {
  auto a = add("a", handler_policy::evict, "peer-1");
  auto t = pass();
  auto again = add("a", handler_policy::evict, "peer-1");
  CAF_CHECK_EQUAL(again.count, 1u);
  CAF_CHECK(again.id != a.id);
  // Nobody else is waited for.
  CAF_CHECK(indices(t).empty());
  take(table().gone(a.id, broken, now_ns));
  answer(a.id, 1, {0});
  CAF_CHECK_EQUAL(table().size(), 1u);
  pass();
  CAF_CHECK(whom() == ids{again.id});
}

CAF_TEST(limits and senseless definitions are refused) {
  settings.max_handlers = 1;
  add("a");
  auto full = table().add({"b", handler_policy::evict, 100ms, ""}, now_ns);
  CAF_CHECK(!full && full.error().code == errc::overloaded);
  auto nameless = table().add({"", handler_policy::evict, 100ms, ""}, now_ns);
  CAF_CHECK(!nameless && nameless.error().code == errc::invalid_argument);
  auto endless = table().add({"c", handler_policy::evict, 0ms, ""}, now_ns);
  CAF_CHECK(!endless && endless.error().code == errc::invalid_argument);
}

// -- how much may be put back -------------------------------------------------

CAF_TEST(a pass shares out what may be put back and starves nobody) {
  settings.max_recoveries = 10;
  std::map<handler_id, std::uint64_t> given;
  for (int i = 0; i < 7; ++i)
    given[add(fmt::format("h{}", i)).id] = 0;
  for (std::uint64_t n = 1; n <= 14; ++n) {
    pass();
    std::uint64_t sum = 0;
    for (auto& x : std::vector(asked)) {
      CAF_CHECK(x.budget <= 4);
      sum += x.budget;
      given[x.id] += x.budget;
      answer(x.id, n, {});
    }
    CAF_CHECK_EQUAL(sum, 10u);
  }
  for (auto& [id, sum] : given)
    CAF_CHECK(sum >= 10 && sum <= 30);
}

// -- whatever happens ---------------------------------------------------------

CAF_TEST(no handler runs twice at a time and no slot counts twice) {
  for (std::uint32_t seed = 1; seed <= 100; ++seed) {
    std::minstd_rand chance{seed};
    auto pick = [&](std::uint64_t n) { return (chance() >> 8) % n; };
    fixture f;
    f.settings.quarantine.initial = 50ms;
    f.settings.quarantine.max = 200ms;
    std::map<handler_id, std::uint64_t> runs;
    std::uint64_t said = 0;
    std::uint64_t counted = 0;
    std::uint64_t last_number = 0;
    for (int step = 0; step < 400; ++step) {
      auto some = runs.begin();
      if (!runs.empty())
        std::advance(some, static_cast<std::ptrdiff_t>(pick(runs.size())));
      switch (pick(8)) {
        case 0: {
          auto policy = static_cast<handler_policy>(pick(3));
          auto made = f.table().add({fmt::format("h{}", pick(6)), policy, 100ms,
                                     pick(2) != 0 ? "p" : ""},
                                    f.now_ns);
          if (made)
            f.take(made->effects);
          break;
        }
        case 1:
        case 2:
          f.take(f.table().begin_pass(++f.tickets, f.now_ns));
          break;
        case 3:
          f.wait(static_cast<std::int64_t>(pick(80)));
          break;
        case 4:
          if (some != runs.end() && pick(3) == 0) {
            f.fail_in(some->first, some->second);
            runs.erase(some);
          }
          break;
        case 5:
          if (some != runs.end() && pick(4) == 0) {
            f.take(f.table().gone(some->first, broken, f.now_ns));
            runs.erase(some);
          }
          break;
        default:
          if (some != runs.end()) {
            auto before = f.table().counters().recovered;
            f.answer(some->first, some->second, {1, 2});
            said += f.table().counters().recovered - before;
            runs.erase(some);
          }
      }
      for (auto& x : std::exchange(f.asked, {}))
        if (!runs.emplace(x.id, x.pass).second)
          CAF_FAIL("a handler runs twice, seed " << seed);
      for (auto& [t, x] : std::exchange(f.results, {})) {
        if (x.number != last_number && x.number != last_number + 1)
          CAF_FAIL("passes overlap, seed " << seed);
        if (x.number != last_number)
          counted += x.slots.size();
        last_number = x.number;
      }
    }
    CAF_CHECK(counted <= said);
  }
}

CAF_TEST_FIXTURE_SCOPE_END()
