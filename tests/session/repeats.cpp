// SPDX-License-Identifier: Apache-2.0

// Requests that a client sends again under the same id, because it did not hear
// what became of them: executed once, and answered as the first time.

#define CAF_SUITE session.repeats

#include "tests/session/core_fixture.hpp"
#include "tests/support/node_bench.hpp"

#include "messages/receipt.hpp"

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

struct node_fixture : node_bench {
  node_fixture() {
    require_start();
  }

  void restart() {
    cut_power();
    require_start();
  }

  static session_spec spec_of(const std::string& code) {
    session_spec spec;
    spec.code = code;
    return spec;
  }

  expected<std::string> spawn_as(const std::string& request_id,
                                 const std::string& code) {
    return ask<std::string>(spawn_atom::value, spec_of(code), request_id);
  }

  expected<session_view> start_as(const std::string& request_id,
                                  const std::string& code) {
    return ask<session_view>(start_atom::value, spec_of(code), request_id);
  }

  expected<feed_reply>
  feed_as(const std::string& request_id, const std::string& id,
          std::vector<answer> answers, feed_mode mode = feed_mode::next_event) {
    return ask<feed_reply>(feed_atom::value, id, std::move(answers), mode,
                           request_id);
  }

  std::size_t sessions() {
    return list()->size();
  }

  template <class T>
  static std::string code(const expected<T>& x) {
    return x ? "ok" : to_string(x.error().code);
  }
};

const std::string two_pauses
  = "local a = alc.llm('one?') return a .. alc.llm('two?')";

answer to(const std::string& query_id, const std::string& response) {
  return {query_id, response, std::nullopt};
}

} // namespace

// -- what a session decides ---------------------------------------------------

CAF_TEST_FIXTURE_SCOPE(core_tests, core_fixture)

CAF_TEST(a session that another was made for before vanishes) {
  auto t = spawn(feed_mode::accepted, "r-1");
  CAF_REQUIRE(out && out->done);
  CAF_CHECK_EQUAL(out->done->result, "\"s-1\"");
  perform(core.committed({0, R"("s-0")"}, now));
  CAF_CHECK_EQUAL(repeated[t], "s-0");
  CAF_CHECK(views.empty() && vanished);
}

CAF_TEST(a feed of open queries is not looked for on disk) {
  pause_at({"a", "b"});
  feed({{"q-0", "x"}, {"q-1", "y"}}, feed_mode::accepted, "r-1");
  CAF_CHECK(recalls.empty());
  CAF_REQUIRE(out && out->done);
  CAF_CHECK_EQUAL(out->done->request_id, "r-1");
}

CAF_TEST(a repeated feed is answered as the first one was) {
  pause_at({"a", "b"});
  auto first = feed({{"q-0", "x"}, {"q-9", "?"}}, feed_mode::accepted, "r-1");
  recall();
  write();
  auto again = feed({{"q-0", "x"}, {"q-9", "?"}}, feed_mode::accepted, "r-1");
  CAF_CHECK(!core.is_idle());
  recall();
  CAF_CHECK(!out);
  CAF_REQUIRE_EQUAL(feeds.count(again), 1u);
  CAF_CHECK_EQUAL(to_json(feeds[again].results), to_json(feeds[first].results));
  CAF_CHECK(!feeds[again].results[0].refused);
  CAF_CHECK_EQUAL(feeds[again].results[1].refused->code, errc::not_found);
}

CAF_TEST(a repeated feed waits for the next event as the first one did) {
  pause_at({"a"});
  feed({{"q-0", "x"}}, feed_mode::accepted, "r-1");
  write();
  auto again = feed({{"q-0", "x"}}, feed_mode::next_event, "r-1");
  recall();
  CAF_CHECK(feeds.count(again) == 0);
  finish();
  write();
  CAF_CHECK_EQUAL(feeds[again].session.phase, session_phase::done);
  // Behind the end there is nothing to wait for.
  auto late = feed({{"q-0", "x"}}, feed_mode::next_event, "r-1");
  recall();
  CAF_CHECK(!feeds[late].results.at(0).refused);
}

CAF_TEST(what was not executed is executed the second time) {
  pause_at({"a"});
  auto first = feed({{"q-7", "x"}}, feed_mode::accepted, "r-1");
  recall();
  CAF_CHECK_EQUAL(feeds[first].results[0].refused->code, errc::not_found);
  feed({{"q-0", "x"}}, feed_mode::accepted, "r-2");
  refuse();
  feed({{"q-0", "x"}}, feed_mode::accepted, "r-2");
  write();
  CAF_CHECK_EQUAL(receipts.count("r-2"), 1u);
}

CAF_TEST(a feed without a query id is no answer to the next query) {
  pause_at({"a"});
  auto first = feed({{"", "x"}}, feed_mode::next_event, "r-1");
  recall();
  pause({"b"});
  write();
  CAF_CHECK_EQUAL(feeds[first].session.queries[0].id, "q-1");
  auto again = feed({{"", "x"}}, feed_mode::next_event, "r-1");
  recall();
  CAF_CHECK(!out && !busy);
  CAF_CHECK_EQUAL(feeds[again].results[0].query_id, "q-0");
}

CAF_TEST(looking for repeats has a limit and hears of errors) {
  settings.max_queued = 2;
  pause_at({"a"});
  feed({{"", "x"}}, feed_mode::accepted, "r-1");
  feed({{"", "y"}}, feed_mode::accepted, "r-2");
  auto third = feed({{"", "z"}}, feed_mode::accepted, "r-3");
  CAF_CHECK_EQUAL(refusals[third].code, errc::overloaded);
  auto x = std::move(recalls[0]);
  perform(core.recalled(std::move(x.feed), fail(errc::conflict, "no"), now));
  CAF_CHECK_EQUAL(refusals[third - 2].code, errc::conflict);
}

CAF_TEST(a session whose feed is being looked for is in use) {
  pause_at({"a"});
  auto fed = feed({{"", "x"}}, feed_mode::accepted, "r-1");
  perform(core.time_out(++tickets, core.view().seq, now));
  recall();
  write();
  CAF_CHECK_EQUAL(feeds.count(fed), 1u);
  CAF_CHECK(phase() != session_phase::cancelled);
}

CAF_TEST(a query id out of all proportion is not kept) {
  pause_at({"a"});
  auto fed = feed({{"q-0", "x"}, {std::string(10'000, 'q'), "y"}},
                  feed_mode::accepted, "r-1");
  recall();
  CAF_REQUIRE(out && out->done);
  CAF_CHECK(out->done->result.size() < 400);
  write();
  CAF_CHECK_EQUAL(feeds[fed].results[1].refused->code, errc::too_large);
}

CAF_TEST(answers that a step waited for keep their receipt when it is refused) {
  pause_at({"a"});
  feed({{"q-0", "x"}}, feed_mode::next_event, "r-1");
  finish();
  CAF_CHECK(out->done);
  refuse(errc::conflict);
  CAF_REQUIRE(out && out->done);
  CAF_CHECK_EQUAL(out->done->request_id, "r-1");
}

CAF_TEST_FIXTURE_SCOPE_END()

// -- the whole node -----------------------------------------------------------

CAF_TEST_FIXTURE_SCOPE(node_tests, node_fixture)

CAF_TEST(a repeated spawn gives the session of the first) {
  auto first = spawn_as("r-1", two_pauses);
  CAF_REQUIRE(first);
  CAF_CHECK_EQUAL(*spawn_as("r-1", two_pauses), *first);
  restart();
  CAF_CHECK_EQUAL(*spawn_as("r-1", two_pauses), *first);
  CAF_CHECK_EQUAL(start_as("r-1", two_pauses)->session_id, *first);
  CAF_CHECK_EQUAL(sessions(), 1u);
  // Without an id, and with another one, it is another session.
  CAF_CHECK_NOT_EQUAL(*spawn_as(once, two_pauses), *first);
  CAF_CHECK_NOT_EQUAL(*spawn_as("r-2", two_pauses), *first);
  CAF_CHECK_EQUAL(sessions(), 3u);
}

CAF_TEST(a repeated start comes to the pause of the first) {
  auto first = start_as("r-1", two_pauses);
  CAF_REQUIRE(first);
  restart();
  auto again = start_as("r-1", two_pauses);
  CAF_REQUIRE(again);
  CAF_CHECK_EQUAL(again->session_id, first->session_id);
  CAF_CHECK_EQUAL(again->queries.at(0).prompt, "one?");
  CAF_CHECK_EQUAL(sessions(), 1u);
}

CAF_TEST(of requests with one id that come at once one is executed) {
  std::vector<answer_ptr<std::string>> spawned;
  std::vector<answer_ptr<session_view>> started;
  for (int i = 0; i < 5; ++i) {
    spawned.push_back(
      send<std::string>(spawn_atom::value, spec_of(two_pauses), "r-1"));
    started.push_back(
      send<session_view>(start_atom::value, spec_of(two_pauses), "r-1"));
  }
  run();
  for (auto& x : spawned)
    CAF_CHECK_EQUAL(***x, ***spawned[0]);
  for (auto& x : started) {
    CAF_CHECK_EQUAL((**x)->session_id, ***spawned[0]);
    CAF_CHECK_EQUAL((**x)->phase, session_phase::paused);
  }
  CAF_CHECK_EQUAL(sessions(), 1u);
  advance(1s);
  CAF_CHECK_EQUAL(registry().active.size(), 1u);
}

CAF_TEST(a repeated feed is not executed again however often the node dies) {
  auto id = start_as("r-0", two_pauses)->session_id;
  auto first = feed_as("r-1", id, {to("q-0", "A")});
  CAF_REQUIRE(first);
  for (int i = 0; i < 3; ++i) {
    restart();
    auto again = feed_as("r-1", id, {to("q-0", "A")});
    CAF_REQUIRE(again);
    CAF_CHECK(!again->results.at(0).refused);
    CAF_CHECK_EQUAL(again->session.queries.at(0).prompt, "two?");
  }
  feed_as("r-2", id, {to("", "B")});
  // What is at its end, or was stopped, says the same as before.
  auto late = feed_as("r-1", id, {to("q-0", "A")});
  CAF_CHECK(late && !late->results.at(0).refused);
  auto sole = feed_as("r-2", id, {to("", "B")});
  CAF_CHECK_EQUAL(sole->results.at(0).query_id, "q-1");
  CAF_CHECK_EQUAL(show(id)->result, "\"AB\"");
  // Whoever asks without an id hears what is the case now.
  CAF_CHECK_EQUAL(code(feed_as(once, id, {to("q-0", "A")})), "finished");
  CAF_CHECK_EQUAL(code(feed_as("r-3", id, {to("q-0", "A")})), "finished");
}

CAF_TEST(of feeds with one id that come at once one is executed) {
  std::vector<std::vector<answer>> all{
    {to("", "A")}, {to("q-0", "A")}, {to("q-0", "A"), to("q-9", "B")}};
  for (auto mode : {feed_mode::next_event, feed_mode::accepted})
    for (auto& answers : all) {
      auto id = start_as(once, two_pauses)->session_id;
      std::vector<answer_ptr<feed_reply>> fed;
      for (int i = 0; i < 3; ++i)
        fed.push_back(
          send<feed_reply>(feed_atom::value, id, answers, mode, "for-" + id));
      run();
      for (auto& x : fed) {
        CAF_REQUIRE(*x);
        CAF_REQUIRE(**x);
        CAF_CHECK_EQUAL((**x)->results.at(0).query_id, "q-0");
        CAF_CHECK(!(**x)->results.at(0).refused);
      }
      CAF_CHECK_EQUAL(show(id)->queries.at(0).prompt, "two?");
      CAF_CHECK_EQUAL(feed(id, "q-1", "B")->result, "\"AB\"");
    }
}

CAF_TEST(looking for a repeat does not write what others wait to share) {
  auto syncs_of = [&](const std::string& query, const std::string& request) {
    std::vector<std::string> ids;
    for (int i = 0; i < 40; ++i)
      ids.push_back(start_as(once, two_pauses)->session_id);
    auto before = disk.syncs();
    for (int i = 0; i < 40; ++i) {
      auto request_id = request.empty() ? once : request + std::to_string(i);
      send<feed_reply>(feed_atom::value, ids[static_cast<std::size_t>(i)],
                       std::vector<answer>{to(query, "A")}, feed_mode::accepted,
                       request_id);
      run(4);
    }
    run();
    return disk.syncs() - before;
  };
  auto without = syncs_of("q-0", {});
  CAF_CHECK(syncs_of("q-0", "named-") <= without + 2);
  CAF_CHECK(syncs_of("", "sole-") <= without + 6);
}

CAF_TEST(an id that stands for something else is refused) {
  auto id = start_as("r-0", two_pauses)->session_id;
  CAF_CHECK_EQUAL(code(spawn_as("r-0", "return 1")), "conflict");
  CAF_CHECK_EQUAL(code(feed_as("r-0", id, {to("q-0", "A")})), "conflict");
  CAF_REQUIRE(feed_as("r-1", id, {to("q-0", "A")}));
  CAF_CHECK_EQUAL(code(feed_as("r-1", id, {to("q-0", "B")})), "conflict");
  auto where = state_key{"default", "k"};
  CAF_CHECK_EQUAL(code(ask<bool>(delete_atom::value, where, "r-1")),
                  "conflict");
  // What was refused has changed nothing.
  CAF_CHECK_EQUAL(sessions(), 1u);
  CAF_CHECK_EQUAL(show(id)->queries.at(0).id, "q-1");
  CAF_CHECK_EQUAL(feed(id, "q-1", "B")->result, "\"AB\"");
}

CAF_TEST(a text that cannot be an id is refused) {
  CAF_CHECK_EQUAL(code(spawn_as("a b", "return 1")), "invalid_argument");
  CAF_CHECK_EQUAL(code(spawn_as("\xff", "return 1")), "invalid_argument");
  CAF_CHECK_EQUAL(code(spawn_as(std::string(129, 'x'), "return 1")),
                  "too_large");
  CAF_CHECK_EQUAL(code(spawn_as(std::string(128, 'x'), "return 1")), "ok");
  CAF_CHECK_EQUAL(sessions(), 1u);
}

CAF_TEST(a repeated write does not undo what others wrote since) {
  auto where = state_key{"default", "k"};
  auto set = [&](const std::string& id, const std::string& value) {
    return ask<std::uint64_t>(set_atom::value, where, value, id);
  };
  auto remove = [&](const std::string& id) {
    return ask<bool>(delete_atom::value, where, id);
  };
  auto first = set("r-1", "1");
  CAF_REQUIRE(first);
  CAF_REQUIRE(set("r-2", "2"));
  restart();
  CAF_CHECK_EQUAL(*set("r-1", "1"), *first);
  CAF_CHECK_EQUAL(*ask<state_value>(get_atom::value, where)->value, "2");
  CAF_CHECK(*remove("r-3"));
  CAF_CHECK(!*remove("r-4"));
  CAF_REQUIRE(set("r-5", "5"));
  CAF_CHECK(*remove("r-3"));
  CAF_CHECK(!*remove("r-4"));
  CAF_CHECK_EQUAL(*ask<state_value>(get_atom::value, where)->value, "5");
}

CAF_TEST(a repeat finds its session gone once that is deleted) {
  auto id = *spawn_as("r-1", "return 1");
  run();
  CAF_CHECK_EQUAL(*ask<std::uint64_t>(prune_atom::value, std::int64_t{0}), 1u);
  CAF_CHECK_EQUAL(*spawn_as("r-1", "return 1"), id);
  CAF_CHECK_EQUAL(code(start_as("r-1", "return 1")), "not_found");
  CAF_CHECK_EQUAL(sessions(), 0u);
}

CAF_TEST(requests are known as long as it was set) {
  stop();
  settings.storage.keep_receipts = 10min;
  require_start();
  auto first = spawn_as("r-1", "return 1");
  advance(9min);
  CAF_CHECK_EQUAL(*spawn_as("r-1", "return 1"), *first);
  advance(2min);
  // Old ones go as new ones come.
  CAF_REQUIRE(spawn_as("r-2", "return 1"));
  CAF_CHECK_NOT_EQUAL(*spawn_as("r-1", "return 1"), *first);
}

CAF_TEST_FIXTURE_SCOPE_END()
