// SPDX-License-Identifier: Apache-2.0

// Whatever happens to pods, and in whatever order the table hears of it.

#define CAF_SUITE pod.property

#include "tests/pod/pod_bench.hpp"

#include "actors/pod/scope_rules.hpp"

#include <fmt/format.h>

#include <array>
#include <set>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

/// How many events a run has, and how many runs there are.
constexpr int steps = 300;
constexpr std::uint64_t seeds = 60;

/// Lets chance decide, and looks after each step whether all is well.
struct model : pod_bench {
  explicit model(std::uint64_t number) : chance(number), seed(number) {
    random.seed(number);
    settings.max_pods = 8;
    settings.max_ended = 5;
    settings.max_waiting = 64;
    before = table->table().listing();
    on_answer = [this](const pod::effect& x) { answered(x); };
    processes.on_start = [this](fake_pod& x) { starts(x); };
  }

  std::uint64_t pick(std::uint64_t n) {
    return chance() % n;
  }

  void require(bool holds, const std::string& what) {
    if (!holds)
      CAF_FAIL(what << ", seed " << seed << ", step " << step);
  }

  static std::string name_of(const std::string& id) {
    return id.substr(0, id.rfind('.'));
  }

  std::string some_name() {
    return std::string(1, static_cast<char>('a' + pick(6)));
  }

  std::string some_pod() {
    if (processes.pods.empty())
      return {};
    auto i = processes.pods.begin();
    std::advance(i, static_cast<std::ptrdiff_t>(pick(processes.pods.size())));
    return i->first;
  }

  std::string some_rules() {
    static constexpr std::array<const char*, 7> all{
      "w:/w", "w:/w/1", "w:/w/1/x", "w1:/w", "r:/w", "w:/w/2", "w:/v,r:/w"};
    return all[pick(all.size())];
  }

  // -- what pods are ----------------------------------------------------------

  struct life {
    std::vector<scope_rule> lent;
    /// The lives of those that it was lent all by, at its start.
    std::set<std::string> lenders;
  };

  /// A pod gets a process. Some hang, some say nothing, some never begin.
  void starts(fake_pod& x) {
    auto* own = table->table().find(name_of(x.id));
    require(own != nullptr, "a pod starts and was lent nothing");
    require(is_lent_on_disk(own->name), "a pod starts before its loans are on "
                                        "disk");
    auto& here = lives[x.id];
    here.lent = own->own.allow;
    if (auto lender = last_lives.find(own->lender);
        lender != last_lives.end()) {
      here.lenders = lives[lender->second].lenders;
      here.lenders.insert(lender->second);
    }
    last_lives[own->name] = x.id;
    auto n = pick(24);
    x.is_silent = n == 0;
    x.is_busy = n == 1;
    x.obeys = n != 2;
    x.confirms = n != 3;
    process_script script{{}, "confined landlock 7", obedience::ends};
    if (n == 4)
      script.says = std::nullopt;
    if (n == 5)
      script.on_signal = obedience::ignores_requests;
    if (n == 6)
      script.refused = failure{errc::overloaded, "no room"};
    processes.scripts.assign(1, script);
    outputs[x.id] = {"0", "1", "2", "3", "4", "5", "6", "7"};
  }

  // -- what is said -----------------------------------------------------------

  void answered(const pod::effect& x) {
    if (auto* reply = std::get_if<pod::reply_pod>(&x)) {
      auto& view = reply->pod;
      if (view.phase == pod_phase::ended)
        return;
      // It may have ended since; then that is on disk.
      auto all = document();
      auto is_there = false;
      for (auto& entry : all["ended"])
        is_there |= entry["id"] == view.id;
      for (auto& entry : all["pods"])
        is_there |= entry["id"] == view.id && entry["ready"] == true
                    && !entry["process"].is_null();
      require(is_there, "a pod is not on disk");
    } else if (auto* stopped = std::get_if<pod::reply_stop>(&x)) {
      auto& name = stopped->reply.name;
      auto entry = on_disk(name);
      require(entry.is_null() || !ended_ids.contains(entry["id"]),
              "a stop is not on disk");
      for (auto& [id, other] : processes.pods)
        if (name_of(id) == name && processes.lives(id))
          require(table->table().find(name) != nullptr,
                  "a pod lives that was stopped");
    } else if (auto* read = std::get_if<pod::reply_output>(&x)) {
      auto reader = asked_by.find(read->to);
      if (reader == asked_by.end())
        return;
      for (auto& text : read->output.texts)
        require(
          seen.emplace(reader->second, read->output.from.offset, text).second,
          "a text is read twice");
    }
  }

  // -- steps ------------------------------------------------------------------

  void spawn_some() {
    auto order = order_of(some_name(), some_rules(), pick(2) ? "task" : "");
    auto by = pick(2) == 0 ? std::string{pod_operator} : some_name();
    if (pick(2) == 0)
      order.delegation.allow = order.scope;
    if (pick(5) == 0)
      order.kind = pod_class::plain;
    spawn(order, pick(3) == 0 ? fmt::format("r-{}", pick(4)) : std::string{},
          by);
  }

  void read_some() {
    auto name = some_name();
    auto reader = pick(2) ? std::string{pod_operator} : "reader";
    // Lives of one name have outputs of their own.
    for (auto& [id, x] : processes.pods)
      if (name_of(id) == name && !on_disk(name).is_null()
          && on_disk(name)["id"] == id)
        asked_by[tickets + 1] = id + reader;
    if (asked_by.contains(tickets + 1))
      read(name, reader);
  }

  void act() {
    auto id = some_pod();
    switch (pick(26)) {
      case 0:
      case 1:
      case 2:
        spawn_some();
        break;
      case 3:
        stop(some_name(), pick(3) == 0 ? some_name() : pod_operator);
        break;
      case 4:
      case 5:
        read_some();
        break;
      case 6:
        send(some_name(), "go");
        break;
      case 7:
        list();
        break;
      case 8:
        tick();
        break;
      case 9:
        if (pick(2) == 0)
          processes.die(id);
        break;
      case 10:
        if (processes.lives(id) && pick(6) == 0)
          processes.silence(id);
        break;
      case 11:
      case 12:
        if (out && pick(2) == 0)
          fail_save();
        break;
      case 13:
        pass(std::chrono::milliseconds(pick(3'000)));
        break;
      case 14:
        if (processes.lives(id))
          for (auto on : sockets.at(socket_of(id)))
            sockets.hang_up(on);
        break;
      case 15:
        if (pick(8) == 0)
          crash();
        break;
      case 16:
        if (processes.lives(id) && !pod_is_plain(id))
          processes.end_turn(id);
        break;
      case 17:
        if (processes.lives(id) && pick(3) == 0)
          processes.leave_behind(id);
        break;
      case 18:
        look_fails = pick(8) == 0
                       ? std::optional{failure{errc::internal, "no /proc"}}
                       : std::nullopt;
        sweep_fails = look_fails;
        break;
      default:
        if (pick(2) == 0 && out)
          save();
        else if (pick(2) == 0)
          deliver(process_events);
        else
          deliver(socket_events);
        break;
    }
    check();
  }

  bool pod_is_plain(const std::string& id) {
    return pod_at(id).is_plain;
  }

  /// Time goes by, and what is due is seen late.
  void pass(std::chrono::milliseconds time) {
    now_ns += std::chrono::nanoseconds(time).count();
    processes.advance(time);
    sockets.advance(time);
    perform(table->on_time());
  }

  void crash() {
    restart(pick(2) == 0);
    asked_by.clear();
    first_ticket = tickets + 1;
    if (pick(2) == 0)
      processes.die(some_pod());
    load();
  }

  // -- what holds always ------------------------------------------------------

  void check() {
    std::vector<std::string> living;
    for (auto& [id, x] : processes.pods)
      if (!processes.processes_of(id).empty())
        living.push_back(id);
      else if (!processes.lives(id))
        ended_ids.insert(id);
    for (auto& id : living) {
      // A table that has not read the document knows nobody yet.
      if (table->size() > 0 || table->is_ready()) {
        auto* own = table->table().find(name_of(id));
        require(own && own->own.allow == lives[id].lent,
                "a pod lives and has no loans");
      }
      for (auto& other : living) {
        if (id >= other || lives[id].lenders.contains(other)
            || lives[other].lenders.contains(id))
          continue;
        for (auto& a : lives[id].lent)
          for (auto& b : lives[other].lent)
            require(a.level != permission::write || b.level != permission::write
                      || !overlap(a, b),
                    "two pods may write at one place");
      }
    }
    for (auto& [id, x] : processes.pods) {
      auto confirmed = x.unconfirmed.empty() ? x.last_event
                                             : x.unconfirmed.begin()->first - 1;
      auto entry = on_disk(name_of(id));
      if (confirmed > 0 && processes.lives(id))
        require(!entry.is_null() && entry["id"] == id
                  && entry["last_event"].is_number()
                  && entry["last_event"] >= confirmed,
                "an event is confirmed and not on disk");
    }
  }

  /// Everything comes to its end.
  void end() {
    look_fails.reset();
    sweep_fails.reset();
    for (auto& [id, x] : processes.pods)
      if (processes.lives(id))
        processes.obey(x.who, obedience::ignores_requests);
    for (int i = 0; i < 10; ++i) {
      tick();
      advance(5s);
    }
    require(table->is_ready(), "the table is not ready");
    for (char name = 'a'; name <= 'f'; ++name)
      stop(std::string(1, name));
    for (int i = 0; i < 10; ++i) {
      tick();
      advance(5s);
    }
    for (auto t = first_ticket; t <= tickets; ++t)
      require(answers.contains(t), "a request was never answered");
    require(table->size() == 0, "a pod has no way out");
    require(processes.all().empty(), "a process is left");
    require(table->table().listing() == before, "a loan is left");
    if (!disk.empty()) {
      require(document()["pods"].empty(), "a pod is left on disk");
      require(document()["scopes"]["loans"].empty(), "a loan is left on disk");
      require(document()["ended"].size() <= settings.max_ended,
              "too many are remembered");
    }
    require(sockets.size() == 0, "a connection is left");
  }

  void run_all() {
    load();
    for (step = 0; step < steps; ++step)
      act();
    end();
  }

  std::mt19937_64 chance;
  std::uint64_t seed = 0;
  int step = 0;
  scope_listing before;
  std::map<std::string, life> lives;
  /// The last life of each name.
  std::map<std::string, std::string> last_lives;
  std::set<std::string> ended_ids;
  /// Which life and which reader each read is of.
  std::map<pod::ticket, std::string> asked_by;
  std::set<std::tuple<std::string, std::uint64_t, std::string>> seen;
  /// The first request behind the last crash.
  pod::ticket first_ticket = 1;
};

} // namespace

CAF_TEST(whatever happens no loan is lost or given twice) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    model x{seed};
    x.run_all();
  }
}
