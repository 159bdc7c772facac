// SPDX-License-Identifier: Apache-2.0

// What happens to sessions when the node dies, the disk refuses, memory gets
// short or others write what they read. The whole node on a simulated disk.

#define CAF_SUITE session.life

#include "tests/support/node_bench.hpp"
#include "tests/support/suite.hpp"

#include "messages/ids.hpp"
#include "messages/session_json.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

struct fixture : node_bench {
  fixture() {
    require_start();
  }

  void restart() {
    kill();
    require_start();
  }

  std::string paused(const std::string& code_text) {
    auto view = run_code(code_text);
    CAF_REQUIRE(view);
    CAF_REQUIRE_EQUAL(view->phase, session_phase::paused);
    return view->session_id;
  }

  template <class T>
  static std::string code(const expected<T>& x) {
    return x ? "ok" : to_string(x.error().code);
  }

  /// Not even what is reused of the log has room.
  void fill_disk() {
    disk.set_fault([](disk_operation x, const std::string&, std::uint64_t) {
      return x == disk_operation::write ? ENOSPC : 0;
    });
  }

  /// Changes the database behind the node's back.
  void change_database(const std::string& statement) {
    sqlite3* raw = nullptr;
    sqlite3_open_v2("/state/sessions.db", &raw, SQLITE_OPEN_READWRITE,
                    disk.file_system().c_str());
    // Without shared memory, of which a simulated disk has none.
    auto text = "PRAGMA locking_mode=exclusive; " + statement;
    CAF_CHECK_EQUAL(sqlite3_exec(raw, text.c_str(), nullptr, nullptr, nullptr),
                    SQLITE_OK);
    sqlite3_close(raw);
  }

  std::uint64_t machines() {
    advance(30s);
    return status()["sessions"]["machines"].get<std::uint64_t>();
  }
};

const std::string three_pauses = R"(
  local name = alc.llm("name?")
  local both = alc.llm_batch({{prompt = "a of " .. name}, {prompt = "b of " .. name}})
  return {name, both, alc.llm("last " .. both[1] .. both[2])}
)";

} // namespace

CAF_TEST_FIXTURE_SCOPE(life_tests, fixture)

// -- crashes ------------------------------------------------------------------

CAF_TEST(
  a node that dies at every step loses no answer and asks nothing twice) {
  auto id = paused(three_pauses);
  restart();
  CAF_CHECK_EQUAL(show(id)->queries.at(0).prompt, "name?");
  auto view = feed(id, "q-0", "Bob");
  CAF_CHECK_EQUAL(view->queries.size(), 2u);
  cut_power();
  require_start();
  CAF_CHECK_EQUAL(show(id)->queries.at(1).prompt, "b of Bob");
  feed(id, "q-2", "B");
  restart();
  // Half of the batch is answered, and stays so.
  CAF_CHECK_EQUAL(show(id)->queries.size(), 1u);
  CAF_CHECK_EQUAL(code(feed(id, "q-2", "again")), "already_answered");
  view = feed(id, "", "A");
  CAF_CHECK_EQUAL(view->queries.at(0).prompt, "last AB");
  cut_power();
  require_start();
  CAF_CHECK_EQUAL(feed(id, "", "end")->result, R"(["Bob",["A","B"],"end"])");
  restart();
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::done);
}

CAF_TEST(an answer that was acknowledged survives before the script saw it) {
  auto id = paused("local a = alc.llm('one') for i = 1, 50000 do end return "
                   "alc.llm('after ' .. a)");
  CAF_CHECK_EQUAL(feed(id, "q-0", "x", feed_mode::accepted)->phase,
                  session_phase::running);
  restart();
  run();
  CAF_CHECK_EQUAL(show(id)->queries.at(0).prompt, "after x");
}

CAF_TEST(a session that ran goes on by itself after a start) {
  std::vector<std::string> ids;
  for (int i = 0; i < 40; ++i) {
    session_spec spec;
    spec.code = "local s = 0 for i = 1, 100000 do s = s + i end return s";
    auto id = send<std::string>(spawn_atom::value, spec, once);
    while (!*id)
      run(1);
    ids.push_back(***id);
  }
  CAF_CHECK(list({session_phase::running})->size() > 0);
  restart();
  run();
  for (auto& id : ids)
    CAF_CHECK_EQUAL(show(id)->result, "5000050000");
  CAF_CHECK_EQUAL(list({session_phase::running})->size(), 0u);
}

CAF_TEST(a spawn that was acknowledged is there and one that was not may be) {
  for (int messages = 1; messages < 40; ++messages) {
    session_spec spec;
    spec.code = "return alc.llm('q')";
    auto id = send<std::string>(spawn_atom::value, spec, once);
    run(static_cast<std::size_t>(messages));
    auto acknowledged = *id && **id;
    auto known = acknowledged ? ***id : std::string{};
    cut_power();
    require_start();
    run();
    if (acknowledged)
      CAF_CHECK_EQUAL(show(known)->phase, session_phase::paused);
    auto all = *list();
    for (auto& summary : all)
      CAF_CHECK_EQUAL(show(summary.session_id)->phase, session_phase::paused);
  }
}

CAF_TEST(a feed that is cut off anywhere is acknowledged or was not given) {
  for (int messages = 1; messages < 30; ++messages) {
    auto id = paused("local a = alc.llm('one') return alc.llm('two ' .. a)");
    auto reply = send<feed_reply>(feed_atom::value, id,
                                  std::vector<answer>{{"q-0", "x", {}}},
                                  feed_mode::next_event, once);
    run(static_cast<std::size_t>(messages));
    auto acknowledged = *reply && **reply;
    cut_power();
    require_start();
    run();
    auto view = show(id);
    CAF_REQUIRE(view);
    if (acknowledged || view->queries.at(0).id == "q-1") {
      CAF_CHECK_EQUAL(view->queries.at(0).prompt, "two x");
      CAF_CHECK_EQUAL(code(feed(id, "q-0", "again")), "already_answered");
    } else {
      CAF_CHECK_EQUAL(view->queries.at(0).id, "q-0");
      CAF_CHECK_EQUAL(feed(id, "q-0", "x")->queries.at(0).prompt, "two x");
    }
  }
}

CAF_TEST(many sessions stand paused over a crash and are all finished) {
  std::vector<std::string> ids;
  for (int i = 0; i < 200; ++i)
    ids.push_back(paused("return alc.llm('q') .. '" + std::to_string(i) + "'"));
  restart();
  CAF_CHECK_EQUAL(list({session_phase::paused})->size(), 200u);
  // Nothing is in memory before somebody asks for it.
  CAF_CHECK_EQUAL(machines(), 0u);
  for (int i = 0; i < 200; ++i)
    CAF_CHECK_EQUAL(feed(ids[i], "", "x")->result,
                    "\"x" + std::to_string(i) + "\"");
}

CAF_TEST(what a session logged and counted survives) {
  auto id = paused("print('one') alc.progress(1, 2, 'half') "
                   "alc.stats.record('k', {1}) return alc.llm('q')");
  restart();
  auto shot = *snapshot(id);
  CAF_CHECK_EQUAL(shot["metrics"]["recent_logs"][0]["message"], "one");
  CAF_CHECK_EQUAL(shot["metrics"]["progress"],
                  (json{{"step", 1}, {"total", 2}, {"message", "half"}}));
  CAF_CHECK_EQUAL(shot["metrics"]["llm_calls"], 1);
  auto view = feed(id, "", "x");
  CAF_CHECK_EQUAL(json::parse(view->stats)["custom"]["k"][0], 1);
  auto lines
    = ask<std::vector<log_line>>(log_atom::value, id, std::uint64_t{0});
  CAF_CHECK_EQUAL(lines->size(), 1u);
}

CAF_TEST(a session keeps what it was begun with) {
  paused("return alc.llm('q')");
  stop();
  // What a later node would need to tell why a replay differs.
  auto bytes = *disk.contents("/state/sessions.db");
  for (auto* part : {"\"muster ", "Lua 5.4", "glibc "})
    CAF_CHECK(bytes.find(part) != std::string::npos);
}

CAF_TEST(a history that was changed on disk diverges and is not fed) {
  auto id = paused("return alc.llm('q')");
  kill();
  // Somebody edits the prompt where nobody should. The log has checksums, so
  // the database itself.
  require_start();
  stop();
  auto bytes = *disk.contents("/state/sessions.db");
  auto at = bytes.find("\"prompt\":\"q\"");
  CAF_REQUIRE(at != std::string::npos);
  bytes[at + 10] = 'Q';
  disk.set_contents("/state/sessions.db", bytes);
  require_start();
  CAF_CHECK_EQUAL(show(id)->queries.at(0).prompt, "Q");
  auto view = feed(id, "", "x");
  CAF_REQUIRE(view);
  CAF_CHECK_EQUAL(view->phase, session_phase::failed);
  CAF_CHECK_EQUAL(view->error_kind, failure_kind::replay_diverged);
}

CAF_TEST(a session whose script is gone is refused and no other) {
  auto waiting = paused("return 'lost', alc.llm('q')");
  auto other = paused("return alc.llm('q')");
  session_spec spec;
  spec.code = "while true do local lost end";
  auto endless = send<std::string>(spawn_atom::value, spec, once);
  while (!*endless)
    run(1);
  auto running = ***endless;
  stop();
  change_database("DELETE FROM sources WHERE instr(text, 'lost')");
  require_start();
  for (auto& id : {waiting, running}) {
    CAF_CHECK_EQUAL(code(show(id)), "registry_corrupted");
    CAF_CHECK_EQUAL(code(feed(id, "q-0", "x")), "registry_corrupted");
    CAF_CHECK_EQUAL(code(cancel(id)), "registry_corrupted");
  }
  CAF_CHECK_EQUAL(feed(other, "q-0", "x")->result, "\"x\"");
}

CAF_TEST(a session whose texts were changed on disk is refused and no other) {
  auto changed = paused("local x = 'change' return alc.llm('keep')");
  auto module
    = paused("return alc.parallel({'keep'}, function(x) return x end)");
  auto other = paused("return alc.llm('keep')");
  stop();
  change_database("UPDATE sources SET text = CAST(text || ' ' AS BLOB) WHERE "
                  "instr(text, 'change')");
  // What is left are modules of the program's own.
  change_database("DELETE FROM sources WHERE NOT instr(text, 'keep')");
  require_start();
  for (auto& id : {changed, module})
    CAF_CHECK_EQUAL(code(feed(id, "q-0", "x")), "registry_corrupted");
  CAF_CHECK_EQUAL(feed(other, "q-0", "x")->result, "\"x\"");
}

// -- the disk refuses ---------------------------------------------------------

CAF_TEST(a full disk refuses new work and goes on when there is room) {
  auto id = paused(three_pauses);
  fill_disk();
  session_spec spec;
  spec.code = "return 1";
  CAF_CHECK_EQUAL(code(ask<std::string>(spawn_atom::value, spec, once)),
                  "storage_full");
  CAF_CHECK_EQUAL(code(feed(id, "q-0", "x")), "storage_full");
  // It can still be read, and the answer was not taken.
  CAF_CHECK_EQUAL(show(id)->queries.at(0).id, "q-0");
  CAF_CHECK_EQUAL(list()->size(), 1u);
  disk.set_fault(nullptr);
  CAF_CHECK_EQUAL(feed(id, "q-0", "x")->queries.size(), 2u);
}

CAF_TEST(a running step that found no room is done when there is some) {
  session_spec spec;
  spec.code = "local x = 0 for i = 1, 300000 do x = x + 1 end "
              "return alc.llm('late')";
  auto answer = send<std::string>(spawn_atom::value, spec, once);
  while (!*answer)
    run(1);
  auto id = ***answer;
  fill_disk();
  run();
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::running);
  disk.set_fault(nullptr);
  advance(5s);
  CAF_CHECK_EQUAL(show(id)->queries.at(0).prompt, "late");
}

CAF_TEST(a failed sync ends the node and everything acknowledged is there after
           a restart) {
  auto id = paused(three_pauses);
  feed(id, "q-0", "Bob");
  disk.set_fault([](disk_operation x, const std::string&, std::uint64_t) {
    return x == disk_operation::sync ? EIO : 0;
  });
  auto reply = send<feed_reply>(feed_atom::value, id,
                                std::vector<answer>{{"q-1", "A", {}}},
                                feed_mode::next_event, once);
  run();
  CAF_REQUIRE(*reply);
  CAF_CHECK(!**reply);
  // The node is gone, and with it all of its parts.
  CAF_CHECK_EQUAL(actors(), 0u);
  disk.set_fault(nullptr);
  cut_power();
  require_start();
  CAF_CHECK_EQUAL(show(id)->queries.size(), 2u);
  CAF_CHECK_EQUAL(code(feed(id, "q-0", "again")), "already_answered");
}

// -- shared state -------------------------------------------------------------

CAF_TEST(two sessions that add to a counter at the same time give two) {
  auto add = "alc.llm('go') alc.state.incr('n') alc.llm('done') return "
             "alc.state.get('n')";
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i)
    ids.push_back(paused(add));
  // All of them read before any of them has written.
  std::vector<answer_ptr<feed_reply>> replies;
  for (auto& id : ids)
    replies.push_back(send<feed_reply>(feed_atom::value, id,
                                       std::vector<answer>{{"q-0", "x", {}}},
                                       feed_mode::next_event, once));
  run();
  for (auto& reply : replies) {
    CAF_REQUIRE(*reply && **reply);
    CAF_CHECK_EQUAL((**reply)->session.queries.at(0).prompt, "done");
  }
  CAF_CHECK_EQUAL(feed(ids[0], "", "x")->result, "10.0");
}

CAF_TEST(a script that loses for ever is told and can go on) {
  settings.session.max_conflicts = 3;
  restart();
  auto id = paused("alc.llm('go') local ok, e = pcall(alc.state.incr, 'n') "
                   "return {ok, e}");
  // Whenever the session has read, somebody else writes.
  auto reply = send<feed_reply>(feed_atom::value, id,
                                std::vector<answer>{{"q-0", "x", {}}},
                                feed_mode::next_event, once);
  state_key n{"default", "n"};
  for (int i = 0; i < 400 && !*reply; ++i) {
    run(1);
    auto written
      = send<std::uint64_t>(set_atom::value, n, std::to_string(i), once);
    run(2);
  }
  run();
  CAF_REQUIRE(*reply && **reply);
  auto& view = (**reply)->session;
  CAF_REQUIRE_EQUAL(view.phase, session_phase::done);
  auto result = json::parse(view.result);
  // It may have slipped through; then it counted.
  if (result[0] == false)
    CAF_CHECK(result[1].get<std::string>().find("was changed by others")
              != std::string::npos);
}

CAF_TEST(state is seen by the sessions that come after and by operators) {
  CAF_CHECK_EQUAL(run_code("alc.state.set('k', {1, 2}) return 1")->phase,
                  session_phase::done);
  CAF_CHECK_EQUAL(run_code("return alc.state.get('k')")->result, "[1,2]");
  CAF_CHECK_EQUAL(
    run_code("return alc.state.get('k')", R"({"_ns":"other"})")->result,
    "null");
  auto value = ask<state_value>(get_atom::value, state_key{"default", "k"});
  CAF_CHECK_EQUAL(*value->value, "[1,2]");
  CAF_CHECK_EQUAL(
    code(ask<std::uint64_t>(set_atom::value, state_key{"default", "k"},
                            std::string{"{"}, once)),
    "invalid_argument");
  CAF_CHECK_EQUAL(ask<std::vector<state_space>>(spaces_atom::value)->size(),
                  1u);
  CAF_CHECK(*ask<bool>(delete_atom::value, state_key{"default", "k"}, once));
}

CAF_TEST(a script that fails leaves the state that it wrote before) {
  auto view = run_code("alc.state.set('k', 1) error('x')");
  CAF_CHECK_EQUAL(view->phase, session_phase::failed);
  CAF_CHECK_EQUAL(run_code("return alc.state.get('k')")->result, "1");
}

// -- virtual machines ---------------------------------------------------------

CAF_TEST(a session that is not fed gives its machine back and goes on later) {
  settings.session.passivate_after = 1min;
  restart();
  auto before = actors();
  auto id = paused(three_pauses);
  feed(id, "", "Bob");
  CAF_CHECK_EQUAL(machines(), 1u);
  advance(2min);
  CAF_CHECK_EQUAL(machines(), 0u);
  // Its actor went as well: nobody needs it.
  CAF_CHECK_EQUAL(actors(), before);
  CAF_CHECK_EQUAL(show(id)->queries.size(), 2u);
  feed(id, "q-1", "A");
  CAF_CHECK_EQUAL(feed(id, "q-2", "B")->queries.at(0).prompt, "last AB");
}

CAF_TEST(only so many machines are kept and the cheap ones go first) {
  settings.session.max_machines = 10;
  restart();
  std::string dear;
  for (int i = 0; i < 15; ++i) {
    auto id = paused("for i = 1, 9 do alc.llm('q') end return 1");
    if (i == 0) {
      dear = id;
      for (int j = 0; j < 7; ++j)
        feed(id, "", "x");
      // So that the registry knows what it took.
      settings.session.passivate_after = 1h;
    }
  }
  CAF_CHECK(machines() <= 10u);
  CAF_CHECK_EQUAL(list({session_phase::paused})->size(), 15u);
  auto all = *list({session_phase::paused});
  for (auto& summary : all)
    CAF_CHECK(feed(summary.session_id, "", "x"));
}

CAF_TEST(a request that comes while a session leaves is answered) {
  settings.session.passivate_after = 1min;
  restart();
  for (int messages = 1; messages < 25; ++messages) {
    auto id = paused("return alc.llm('q')");
    auto view = send<session_view>(cancel_atom::value, id,
                                   cancel_reason{cancel_code::user, {}, 0});
    run(static_cast<std::size_t>(messages));
    // Ended: the session offers to leave, and is asked for at that moment.
    auto late = send<session_view>(show_atom::value, id);
    run();
    CAF_REQUIRE(*view && **view);
    CAF_REQUIRE(*late && **late);
    CAF_CHECK_EQUAL((**late)->session_id, id);
  }
}

CAF_TEST(an ended session leaves no actor and no machine) {
  auto before = actors();
  for (auto* text : {"return 1", "error('x')", "return print"})
    CAF_CHECK(run_code(text));
  auto id = paused("return alc.llm('q')");
  cancel(id);
  run();
  CAF_CHECK_EQUAL(actors(), before);
  CAF_CHECK_EQUAL(machines(), 0u);
}

CAF_TEST(a session that is fed while it is looked for is not timed out) {
  settings.session.idle_ttl = 10min;
  settings.session.collect_interval = 1s;
  restart();
  for (int messages = 0; messages < 40; ++messages) {
    auto id = paused("alc.llm_batch({{prompt = 'a'}, {prompt = 'b'}})");
    move_clock(11min);
    run(static_cast<std::size_t>(messages));
    auto fed = send<feed_reply>(feed_atom::value, id,
                                std::vector<answer>{{"q-0", "x", {}}},
                                feed_mode::accepted, once);
    run();
    CAF_REQUIRE(*fed);
    auto was_taken = **fed && !(**fed)->results.at(0).refused;
    auto now = show(id)->phase;
    CAF_CHECK_EQUAL(now, was_taken ? session_phase::paused
                                   : session_phase::cancelled);
    cancel(id);
  }
}

// -- ids and snapshots --------------------------------------------------------

CAF_TEST(a unique beginning of an id is enough) {
  auto a = paused("return alc.llm('q')");
  advance(1s);
  auto b = paused("return alc.llm('q')");
  auto differs = std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
  auto common = a.substr(0, static_cast<std::size_t>(differs));
  auto unique = a.substr(0, static_cast<std::size_t>(differs) + 1);
  CAF_CHECK_EQUAL(show(unique)->session_id, a);
  CAF_CHECK_EQUAL(code(show(common)), "ambiguous");
  CAF_CHECK_EQUAL(code(show("s-")), "ambiguous");
  CAF_CHECK_EQUAL(code(show("s-zz")), "not_found");
  CAF_CHECK_EQUAL(code(show("")), "not_found");
  CAF_CHECK_EQUAL(feed(unique, "", "x")->phase, session_phase::done);
  CAF_CHECK_EQUAL(cancel(b.substr(0, b.size() - 3))->phase,
                  session_phase::cancelled);
}

CAF_TEST(snapshots show what is asked for) {
  auto id = paused("return alc.llm('a long question', {system = 'sys', "
                   "grounded = true})");
  auto plain = *snapshot(id);
  CAF_CHECK_EQUAL(plain["state"], "paused");
  CAF_CHECK_EQUAL(plain["phase"], "paused");
  CAF_CHECK_EQUAL(plain["pending_queries"], 1);
  CAF_CHECK(!plain.contains("pending"));
  CAF_CHECK_EQUAL(plain["started_at"], plain["last_activity_at"]);
  auto with = [&](const json& filter) {
    snapshot_options options;
    options.pending = *pending_filter_from(filter, 6);
    return snapshot(id, options)->at("pending").at(0);
  };
  CAF_CHECK_EQUAL(with("meta"),
                  (json{{"query_id", "q-0"}, {"max_tokens", 1024}}));
  CAF_CHECK_EQUAL(with("preview")["prompt_preview"], "a long");
  CAF_CHECK_EQUAL(with("full")["prompt"], "a long question");
  CAF_CHECK_EQUAL(with("full")["grounded"], true);
  CAF_CHECK_EQUAL(with("full")["system"], "sys");
  CAF_CHECK_EQUAL(with(json{{"system", true}}), (json{{"system", "sys"}}));
  snapshot_options history;
  history.history = true;
  auto told = snapshot(id, history)->at("metrics");
  CAF_CHECK_EQUAL(told["conversation_history"][0]["response"], nullptr);
  CAF_CHECK_EQUAL(told["tokens"]["current_query"]["query_id"], "q-0");
  feed(id, "", "x");
  told = snapshot(id, history)->at("metrics");
  CAF_CHECK_EQUAL(told["conversation_history"][0]["response"], "x");
  CAF_CHECK_EQUAL(snapshot(id)->at("phase"), "completed");
  CAF_CHECK_EQUAL(snapshot(id)->at("state"), "terminal");
}

CAF_TEST(snapshots of all show those that have not ended) {
  CAF_CHECK_EQUAL(
    json::parse(*ask<std::string>(snapshot_atom::value, snapshot_options{})),
    (json{
      {"active_sessions", 0}, {"more", false}, {"sessions", json::array()}}));
  auto a = paused("return alc.llm('q')");
  auto b = paused("return alc.llm('q')");
  run_code("return 1");
  restart();
  auto all
    = json::parse(*ask<std::string>(snapshot_atom::value, snapshot_options{}));
  CAF_CHECK_EQUAL(all["active_sessions"], 2);
  CAF_CHECK_EQUAL(all["sessions"][0]["session_id"], b);
  CAF_CHECK_EQUAL(all["sessions"][1]["session_id"], a);
  CAF_CHECK_EQUAL(all["more"], false);
}

CAF_TEST(snapshots of all say when there are more than one page) {
  settings.storage.max_page = 2;
  restart();
  for (int i = 0; i < 3; ++i)
    paused("return alc.llm('q')");
  auto all
    = json::parse(*ask<std::string>(snapshot_atom::value, snapshot_options{}));
  CAF_CHECK_EQUAL(all["active_sessions"], 2);
  CAF_CHECK_EQUAL(all["more"], true);
}

CAF_TEST(a value of an operator has the limit that a script has) {
  settings.strategy.max_state_bytes = 10;
  restart();
  state_key where{"default", "k"};
  CAF_CHECK_EQUAL(code(ask<std::uint64_t>(set_atom::value, where,
                                          std::string{"\"12345678\""}, once)),
                  "ok");
  auto refused = ask<std::uint64_t>(set_atom::value, where,
                                    std::string{"\"123456789\""}, once);
  CAF_CHECK_EQUAL(code(refused), "too_large");
  CAF_CHECK(refused.error().message.find("strategy.max-state")
            != std::string::npos);
  CAF_CHECK_EQUAL(ask<state_value>(get_atom::value, where)->value,
                  "\"12345678\"");
}

CAF_TEST(a transcript tells everything that was asked and answered) {
  auto id = paused(three_pauses);
  feed(id, "", "Bob");
  feed(id, "q-2", "B");
  auto told = json::parse(*ask<std::string>(transcript_atom::value, id));
  CAF_REQUIRE_EQUAL(told.size(), 3u);
  CAF_CHECK_EQUAL(told[0]["response"], "Bob");
  CAF_CHECK(told[1]["response"].is_null());
  CAF_CHECK_EQUAL(told[2]["response"], "B");
}

CAF_TEST(operators delete what has ended and nothing else) {
  auto id = paused("return alc.llm('q')");
  run_code("return 1");
  advance(1min);
  run_code("return 2");
  CAF_CHECK_EQUAL(*ask<std::uint64_t>(prune_atom::value, std::int64_t{30'000}),
                  1u);
  CAF_CHECK_EQUAL(list()->size(), 2u);
  CAF_CHECK_EQUAL(*ask<std::uint64_t>(prune_atom::value, std::int64_t{0}), 1u);
  CAF_CHECK_EQUAL(list()->at(0).session_id, id);
}

// -- refusals -----------------------------------------------------------------

CAF_TEST(a spec that cannot be run is refused with its reason) {
  settings.session.max_code_bytes = 100;
  settings.session.max_ctx_bytes = 100;
  restart();
  auto spawn_with = [&](auto change) {
    session_spec spec;
    spec.code = "return 1";
    change(spec);
    return code(ask<std::string>(spawn_atom::value, spec, once));
  };
  CAF_CHECK_EQUAL(
    spawn_with([](auto& x) { x.code = std::string(101, ' ') + "x"; }),
    "too_large");
  CAF_CHECK_EQUAL(spawn_with([](auto& x) { x.code = "return '\xff'"; }),
                  "not_utf8");
  CAF_CHECK_EQUAL(spawn_with([](auto& x) {
                    x.ctx = "{\"a\":\"" + std::string(100, 'x') + "\"}";
                  }),
                  "too_large");
  CAF_CHECK_EQUAL(spawn_with([](auto& x) { x.ctx = "{\"a\":\"\xff\"}"; }),
                  "invalid_spec");
  CAF_CHECK_EQUAL(spawn_with([](auto& x) { x.packages = {"relative"}; }),
                  "invalid_spec");
  CAF_CHECK_EQUAL(spawn_with([](auto&) {}), "ok");
  CAF_CHECK_EQUAL(list()->size(), 1u);
}

CAF_TEST(a prune that the disk refuses is not said to be done) {
  auto ended = run_code("return 1")->session_id;
  advance(1s);
  disk.set_fault([](auto operation, auto&, auto) {
    return operation == disk_operation::write ? ENOSPC : 0;
  });
  auto pruned = ask<std::uint64_t>(prune_atom::value, std::int64_t{0});
  CAF_CHECK_EQUAL(code(pruned), "storage_full");
  disk.set_fault(nullptr);
  CAF_CHECK_EQUAL(show(ended)->phase, session_phase::done);
  CAF_CHECK_EQUAL(*ask<std::uint64_t>(prune_atom::value, std::int64_t{0}), 1u);
}

CAF_TEST(a prune counts what is gone and nothing else) {
  for (int messages = 1; messages < 30; ++messages) {
    run_code("return 1");
    auto pruned = send<std::uint64_t>(prune_atom::value, std::int64_t{0});
    run(static_cast<std::size_t>(messages));
    auto acknowledged = pruned->has_value();
    auto count = acknowledged ? ***pruned : 0;
    cut_power();
    require_start();
    run();
    if (acknowledged)
      CAF_CHECK_EQUAL(count + list()->size(), 1u);
    CAF_CHECK(ask<std::uint64_t>(prune_atom::value, std::int64_t{0}));
    CAF_CHECK_EQUAL(list()->size(), 0u);
  }
}

CAF_TEST(everybody who asks for a session that is not there is told so) {
  auto id = paused("return alc.llm('q')");
  id.back() = id.back() == '0' ? '1' : '0';
  for (std::uint64_t seed = 1; seed < 100; ++seed) {
    std::mt19937_64 random{seed};
    std::vector<answer_ptr<session_view>> shown;
    for (int i = 0; i < 6; ++i) {
      shown.push_back(send<session_view>(show_atom::value, id));
      for (auto steps = random() % 12; steps > 0; --steps)
        run_one(random);
    }
    while (run_one(random)) {
      // nop
    }
    for (auto& x : shown) {
      CAF_REQUIRE(*x);
      CAF_CHECK_EQUAL(code(**x), "not_found");
    }
  }
}

CAF_TEST(a stop comes to its end whatever was under way) {
  for (std::uint64_t seed = 1; seed < 200; ++seed) {
    std::mt19937_64 random{seed};
    auto id = paused("return alc.llm('q')");
    restart();
    auto prefix = id.substr(0, id.size() - 1);
    auto shown = send<session_view>(show_atom::value, prefix);
    auto fed = send<feed_reply>(feed_atom::value, prefix,
                                std::vector<answer>{{"", "x", {}}},
                                feed_mode::next_event, once);
    auto cancelled = send<session_view>(
      cancel_atom::value, id, cancel_reason{cancel_code::user, "", 0});
    for (auto steps = random() % 60; steps > 0; --steps)
      run_one(random);
    auto stopped = send_to<caf::ok_atom>(node(), stop_atom::value);
    while (run_one(random)) {
      // nop
    }
    CAF_REQUIRE(*stopped && **stopped);
    CAF_REQUIRE(*shown && *fed && *cancelled);
    restart();
  }
}

CAF_TEST(a node that stops takes nothing new and keeps everything) {
  auto id = paused(three_pauses);
  auto running = *spawn("while true do end");
  auto stopped = send_to<caf::ok_atom>(node(), stop_atom::value);
  auto late = send<session_view>(show_atom::value, id);
  run();
  CAF_REQUIRE(*stopped && **stopped);
  CAF_REQUIRE(*late);
  CAF_CHECK_EQUAL((**late).error().code, errc::shutting_down);
  CAF_CHECK_EQUAL(actors(), 0u);
  kill();
  require_start();
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::paused);
  CAF_CHECK_EQUAL(show(running)->phase, session_phase::running);
}

CAF_TEST_FIXTURE_SCOPE_END()
