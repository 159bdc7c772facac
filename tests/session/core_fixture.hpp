// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/suite.hpp"

#include "actors/session/session_state.hpp"

#include "messages/ids.hpp"
#include "messages/json.hpp"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace muster::test {

/// A session with a disk and a machine that a test moves by hand.
struct core_fixture {
  session_settings settings;
  session_state core{"s-1", settings};
  std::int64_t now = 1'000;
  ticket tickets = 0;

  /// What is on disk.
  history disk;
  std::optional<commit_request> out;
  std::map<std::string, receipt> receipts;

  /// What the machine was told last.
  bool has_machine = false;
  /// Whether it works, as opposed to waiting at a pause.
  bool busy = false;
  std::vector<answered_event> fed;
  std::vector<state_key> contended;
  /// The last pause that the machine knows to be on disk.
  std::uint64_t confirmed = 0;
  std::optional<failure> awaiters_told;

  // What clients were told, by ticket.
  std::map<ticket, session_view> views;
  std::map<ticket, feed_reply> feeds;
  std::map<ticket, failure> refusals;
  std::map<ticket, std::string> repeated;
  /// Feeds that are to be looked for on disk.
  std::vector<recall_feed> recalls;
  bool vanished = false;
  bool commit_timer = false;
  bool retry_timer = false;
  std::vector<std::string> progress;

  void perform(session_effects effects) {
    for (auto& effect : effects)
      std::visit([this](auto& x) { on(x); }, effect);
  }

  void on(write_events& x) {
    CAF_REQUIRE(!out);
    out = std::move(x.request);
  }
  void on(build_machine& x) {
    has_machine = true;
    busy = true;
    contended = x.contended;
  }
  void on(feed_machine& x) {
    CAF_REQUIRE(has_machine);
    fed = std::move(x.answers);
    busy = true;
  }
  void on(confirm_pause& x) {
    CAF_REQUIRE(has_machine);
    CAF_CHECK_EQUAL(x.seq, disk.size());
    confirmed = x.seq;
  }
  void on(tell_awaiters& x) {
    awaiters_told = x.why;
  }
  void on(drop_machine&) {
    has_machine = false;
    busy = false;
  }
  void on(reply_feed& x) {
    CAF_CHECK(feeds.emplace(x.to, x.reply).second);
  }
  void on(reply_view& x) {
    CAF_CHECK(views.emplace(x.to, x.view).second);
  }
  void on(reply_refusal& x) {
    CAF_CHECK(refusals.emplace(x.to, x.why).second);
  }
  void on(publish_events& x) {
    for (auto& events : x.progress)
      for (auto& text : events)
        progress.push_back(json::parse(text)["kind"]);
  }
  void on(reply_repeated& x) {
    CAF_CHECK(repeated.emplace(x.to, x.session_id).second);
  }
  void on(recall_feed& x) {
    recalls.push_back(std::move(x));
  }
  void on(arm_commit_time&) {
    commit_timer = true;
  }
  void on(arm_retry&) {
    retry_timer = true;
  }
  void on(vanish&) {
    vanished = true;
  }

  // -- the disk ---------------------------------------------------------------

  void write() {
    CAF_REQUIRE(out);
    CAF_CHECK_EQUAL(out->first_seq, disk.size() + 1);
    std::string unused;
    auto events = decode_history(out->payload, unused);
    CAF_REQUIRE(events);
    disk.insert(disk.end(), events->begin(), events->end());
    CAF_CHECK_EQUAL(out->last_seq, disk.size());
    if (auto& done = out->done)
      receipts.emplace(done->request_id, *done);
    out.reset();
    perform(core.committed({7, {}}, now));
  }

  void refuse(errc code = errc::storage_full) {
    CAF_REQUIRE(out);
    out.reset();
    perform(core.refused({code, "no"}, now));
  }

  /// Looks for the oldest feed that may be a repeat.
  void recall() {
    CAF_REQUIRE(!recalls.empty());
    auto x = std::move(recalls.front());
    recalls.erase(recalls.begin());
    expected<std::string> kept{std::string{}};
    if (auto i = receipts.find(x.wanted.request_id); i != receipts.end()) {
      if (i->second.digest == x.wanted.digest)
        kept = i->second.result;
      else
        kept = fail(errc::conflict, "another request");
    }
    perform(core.recalled(std::move(x.feed), kept, now));
  }

  // -- the machine ------------------------------------------------------------

  void pause(std::vector<std::string> prompts) {
    strategy_step step;
    paused_event end;
    for (auto& prompt : prompts) {
      query q;
      q.id = make_query_id(next_query++);
      q.prompt = prompt;
      end.queries.push_back(q);
    }
    end.digest.push_back('d');
    step.end = end;
    busy = false;
    perform(core.machine_stopped(std::move(step), now));
  }

  void finish(std::string result = "1") {
    strategy_step step;
    step.end = done_event{std::move(result), "d", {}};
    busy = false;
    perform(core.machine_stopped(std::move(step), now));
  }

  std::uint64_t next_query = 0;

  // -- clients ----------------------------------------------------------------

  ticket spawn(feed_mode mode = feed_mode::accepted,
               const std::string& request_id = once) {
    session_spec spec;
    spec.code = "return 1";
    perform(core.spawn(++tickets, {spec, "00", "v"}, mode, request_id, now));
    return tickets;
  }

  ticket feed(std::vector<std::pair<std::string, std::string>> answers,
              feed_mode mode = feed_mode::next_event,
              const std::string& request_id = once) {
    std::vector<answer> all;
    for (auto& [id, text] : answers)
      all.push_back({id, text, std::nullopt});
    perform(core.feed({++tickets, std::move(all), mode, request_id}, now));
    return tickets;
  }

  ticket cancel(std::string detail = "bored") {
    perform(core.cancel(++tickets, {cancel_code::user, detail, 0}, now));
    return tickets;
  }

  /// A session on disk that waits for these.
  void pause_at(std::vector<std::string> prompts) {
    spawn();
    write();
    pause(std::move(prompts));
    write();
  }

  session_phase phase() const {
    return core.fold().phase();
  }
};

} // namespace muster::test
