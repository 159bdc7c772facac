// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/fake_pods.hpp"
#include "tests/support/suite.hpp"

#include "actors/pod/pod_table.hpp"
#include "actors/pod/spawned_pod_registry.hpp"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace muster::test {

/// A rule as on the command line.
inline std::vector<scope_rule> rules(const std::string& text) {
  auto out = parse_rules(text);
  CAF_REQUIRE(out);
  return *out;
}

/// An order for a pod, with all that the registry would have filled in.
inline pod_order order_of(const std::string& name,
                          const std::string& scope_text,
                          const std::string& task = {}) {
  pod_order out;
  out.name = name;
  out.scope = rules(scope_text);
  out.task = task;
  out.cwd = out.scope.front().target;
  return out;
}

/// A table of pods with processes, sockets, outputs and a disk that a test
/// moves by hand. What happens waits until the test lets the table hear of it.
struct pod_bench {
  pod_settings settings;
  fake_pods processes;
  scripted_sockets& sockets = *processes.sockets;
  std::unique_ptr<pod_table> table;
  std::mt19937_64 random{1};
  std::int64_t now_ns = 1'000'000'000;

  /// The document that is on disk, and the one that is on its way there.
  std::string disk;
  std::optional<std::string> out;
  std::size_t saves = 0;

  /// What happened to processes and to connections, in order.
  std::deque<std::function<pod::effects()>> process_events;
  std::deque<std::function<pod::effects()>> socket_events;

  /// What each pod has written, in pieces of one text each.
  std::map<std::string, std::vector<std::string>> outputs;
  /// Reads wait here if the test wants it so.
  bool holds_reads = false;
  std::deque<pod::read_output> reads;

  pod::ticket tickets = 0;
  std::map<pod::ticket, pod::effect> answers;
  /// What each pod asked for, with the name that it has.
  std::vector<pod::ask> asked;
  std::vector<std::string> warnings;
  /// What was said of those who occupy slots.
  std::vector<slot_event> told;
  std::vector<std::string> copies;
  std::vector<std::string> removed;
  std::string mirror;
  /// How a look at processes fails, if it does.
  std::optional<failure> look_fails;
  std::optional<failure> sweep_fails;
  /// Whether whoever answers at a socket was started as that pod.
  std::optional<bool> is_own = true;
  /// Called with each answer.
  std::function<void(const pod::effect&)> on_answer;

  pod_bench() {
    settings.folder = "/state/pods";
    settings.program = "/bin/muster";
    make_table();
  }

  environment env() {
    return {[this] { return 1'700'000'000'000 + now_ns / 1'000'000; },
            [this] { return now_ns; },
            [this] {
              return random_bits{random(), random()};
            }};
  }

  void make_table() {
    table = std::make_unique<pod_table>(settings, env());
  }

  // -- the ports --------------------------------------------------------------

  void perform(pod::effects effects) {
    for (auto& effect : effects)
      std::visit([this](auto& x) { on(x); }, effect);
  }

  process_listener process_listener_of(const std::string& id) {
    return [this, id, who = table.get()](process_event event) {
      process_events.push_back([=, this]() -> pod::effects {
        if (who != table.get())
          return {};
        if (auto* ready = std::get_if<process_ready>(&event))
          return table->ready(id, ready->line.substr(9));
        return table->ended(id, std::get<process_ended>(event));
      });
    };
  }

  socket_listener socket_listener_of(const std::string& id) {
    return [this, id, who = table.get()](socket_event event) {
      socket_events.push_back([=, this]() -> pod::effects {
        if (who != table.get())
          return {};
        if (auto* opened = std::get_if<socket_opened>(&event))
          return table->opened(id, opened->id, is_own);
        if (auto* frame = std::get_if<socket_frame>(&event))
          return table->heard(id, frame->id, pod::decode_event(frame->text));
        auto& closed = std::get<socket_closed>(event);
        return table->closed(id, closed.id, closed.why);
      });
    };
  }

  std::string socket_of(const std::string& id) const {
    return settings.folder + "/run/" + id + "/sock";
  }

  void on(pod::save& x) {
    CAF_REQUIRE(!out);
    ++saves;
    // Whatever is written can be read.
    auto document = read_pod_document(x.text, "pods.json");
    CAF_REQUIRE(document);
    CAF_REQUIRE(
      document->scopes.allocations.empty()
      || scope_table(pod_operator, settings.grant).restore(document->scopes));
    out = std::move(x.text);
    mirror = std::move(x.mirror);
  }
  void on(pod::keep_copy& x) {
    copies.push_back(x.text);
  }
  void on(pod::remove_folder& x) {
    removed.push_back(x.id);
    outputs.erase(x.id);
  }
  void on(pod::read_output& x) {
    reads.push_back(x);
    if (!holds_reads)
      read_next();
  }
  void on(pod::start& x) {
    perform(
      table->started(x.id, processes.start(pod_process(settings, x.id, x.order),
                                           process_listener_of(x.id))));
  }
  void on(pod::adopt& x) {
    perform(
      table->adopted(x.id, processes.adopt(x.who, process_listener_of(x.id))));
  }
  void on(pod::look& x) {
    perform(table->looked(
      x.id,
      look_fails
        ? expected<std::optional<process_identity>>{tl::unexpected<failure>{
          *look_fails}}
        : processes.find(x.pid)));
  }
  void on(pod::find_started& x) {
    if (look_fails)
      return perform(table->looked(x.id, tl::unexpected<failure>{*look_fails}));
    auto found = processes.processes_of(x.id);
    perform(table->looked(x.id, found.empty() ? std::nullopt
                                              : std::optional{found.front()}));
  }
  void on(pod::send_signal& x) {
    if (auto sent = processes.send(x.who, x.number); !sent)
      perform(table->signal_refused(x.id, sent.error()));
  }
  void on(pod::sweep& x) {
    if (sweep_fails)
      return perform(table->swept(x.id, tl::unexpected<failure>{*sweep_fails}));
    auto found = processes.processes_of(x.id);
    for (auto& who : found)
      processes.kill(who);
    perform(table->swept(x.id, found.empty()));
  }
  void on(pod::let_go&) {
    processes.stop();
  }
  void on(pod::connect& x) {
    perform(table->connecting(
      x.id, sockets.connect(socket_of(x.id), socket_listener_of(x.id))));
  }
  void on(pod::send& x) {
    if (auto sent = sockets.send(x.connection, pod::encode(x.what)); !sent)
      perform(table->send_refused(x.id));
  }
  void on(pod::probe& x) {
    perform(table->probed(x.id, x.connection, sockets.heard(x.connection)));
  }
  void on(pod::hang_up& x) {
    sockets.close(x.connection);
  }
  void on(pod::ask& x) {
    asked.push_back(x);
  }
  void on(pod::warn& x) {
    warnings.push_back(x.text);
  }
  void on(pod::tell& x) {
    told.push_back(std::move(x.what));
  }
  template <class Reply>
  void on(Reply& x) {
    if (on_answer)
      on_answer(pod::effect{x});
    CAF_CHECK(answers.emplace(x.to, x).second);
  }

  // -- moving it --------------------------------------------------------------

  /// Lets the oldest read have its piece: one text each.
  void read_next() {
    auto x = reads.front();
    reads.pop_front();
    auto& texts = outputs[x.id];
    output_piece piece;
    piece.to = x.from;
    if (x.from.offset < texts.size()) {
      piece.texts.push_back(texts[x.from.offset]);
      piece.to = {1, x.from.offset + 1};
      piece.more = piece.to.offset < texts.size();
    }
    perform(table->output_read(x.reader, piece));
  }

  void save(const expected<void>& result = {}) {
    CAF_REQUIRE(out);
    if (result)
      disk = *out;
    out.reset();
    perform(table->saved(result));
  }

  void fail_save(errc code = errc::storage_full) {
    save(fail(code, "no room"));
  }

  bool deliver(std::deque<std::function<pod::effects()>>& events) {
    if (events.empty())
      return false;
    auto event = std::move(events.front());
    events.pop_front();
    perform(event());
    return true;
  }

  /// Lets the table hear of everything, but for the disk.
  void hear() {
    while (deliver(process_events) || deliver(socket_events)) {
      // nop
    }
  }

  /// The same with a disk that works.
  void run() {
    for (hear(); out; hear())
      save();
  }

  /// The same with one that does not.
  void run_failing() {
    int limit = 100;
    for (hear(); out && limit > 0; hear(), --limit)
      fail_save();
    CAF_REQUIRE(limit > 0);
  }

  /// Time goes by, and all of its limits are seen.
  void advance(std::chrono::milliseconds time) {
    auto end = now_ns + std::chrono::nanoseconds(time).count();
    for (auto limit = table->limit_ns(); limit && *limit <= end;
         limit = table->limit_ns()) {
      auto step = std::max<std::int64_t>(*limit - now_ns, 0);
      now_ns += step;
      processes.advance(std::chrono::milliseconds(step / 1'000'000));
      sockets.advance(std::chrono::milliseconds(step / 1'000'000));
      perform(table->on_time());
      run();
    }
    processes.advance(std::chrono::milliseconds((end - now_ns) / 1'000'000));
    sockets.advance(std::chrono::milliseconds((end - now_ns) / 1'000'000));
    now_ns = end;
    run();
  }

  /// The node is killed and begins anew. What was on its way to the disk may
  /// be there or not.
  void restart(bool keeps_write = false) {
    if (keeps_write && out)
      disk = *out;
    out.reset();
    answers.clear();
    asked.clear();
    reads.clear();
    process_events.clear();
    socket_events.clear();
    processes.restart_holder();
    sockets.restart_holder();
    // A table never has the address of the one before.
    auto old = std::move(table);
    make_table();
  }

  void load() {
    perform(table->load(disk));
  }

  void begin() {
    load();
    run();
  }

  // -- requests ---------------------------------------------------------------

  pod::ticket spawn(const pod_order& order, const std::string& request_id = {},
                    const std::string& by = pod_operator) {
    perform(table->spawn(++tickets, by, order, request_id));
    return tickets;
  }
  pod::ticket send(const std::string& name, const std::string& text,
                   const std::string& by = pod_operator,
                   const std::string& request_id = {}) {
    perform(table->send(++tickets, by, name, text, request_id));
    return tickets;
  }
  pod::ticket read(const std::string& name,
                   const std::string& reader = pod_operator,
                   const std::optional<output_cursor>& at = {},
                   const std::string& by = pod_operator) {
    perform(table->read(++tickets, by, name, reader, at));
    return tickets;
  }
  pod::ticket stop(const std::string& name,
                   const std::string& by = pod_operator) {
    perform(table->stop(++tickets, by, name));
    return tickets;
  }
  pod::ticket list(const std::string& by = pod_operator) {
    perform(table->list(++tickets, by));
    return tickets;
  }
  pod::ticket tick() {
    perform(table->tick(++tickets));
    return tickets;
  }
  pod::ticket probe() {
    perform(table->probe(++tickets));
    return tickets;
  }
  pod::ticket spawn_slot(const slot_id& slot, const pod_order& order) {
    perform(table->spawn_slot(++tickets, slot, order));
    return tickets;
  }
  pod::ticket find_slot(const slot_id& slot) {
    perform(table->find_slot(++tickets, slot));
    return tickets;
  }
  pod::ticket stop_slot(const slot_id& slot) {
    perform(table->stop_slot(++tickets, slot));
    return tickets;
  }
  pod::ticket shut_down() {
    perform(table->shut_down(++tickets));
    return tickets;
  }

  /// Lets some probes go by, each when the next ping is due.
  void probe_often(int times) {
    for (; times > 0; --times) {
      advance(settings.ping_interval);
      probe();
      run();
    }
  }

  // -- answers ----------------------------------------------------------------

  bool is_answered(pod::ticket from) const {
    return answers.contains(from);
  }

  template <class T>
  T get(pod::ticket from) {
    auto i = answers.find(from);
    CAF_REQUIRE(i != answers.end());
    if (auto* refusal = std::get_if<pod::reply_refusal>(&i->second))
      if constexpr (!std::is_same_v<T, pod::reply_refusal>)
        CAF_MESSAGE("refused: " << refusal->why.message);
    CAF_REQUIRE(std::holds_alternative<T>(i->second));
    return std::get<T>(i->second);
  }

  failure refusal(pod::ticket from) {
    return get<pod::reply_refusal>(from).why;
  }

  std::vector<pod_view> listed(const std::string& by = pod_operator) {
    return get<pod::reply_list>(list(by)).pods;
  }

  /// The only pod of that name.
  pod_view view(const std::string& name) {
    for (auto& x : listed())
      if (x.name == name)
        return x;
    CAF_FAIL("no pod " << name);
  }

  /// A pod that is ready.
  /// @returns its id.
  std::string spawned(const pod_order& order,
                      const std::string& by = pod_operator) {
    auto t = spawn(order, {}, by);
    run();
    return get<pod::reply_pod>(t).pod.id;
  }

  std::string spawned(const std::string& name, const std::string& scope_text) {
    return spawned(order_of(name, scope_text));
  }

  /// Two pods, of which the first has lent to the second.
  std::pair<std::string, std::string> lender_and_borrower() {
    auto order = order_of("mother", "w:/land");
    order.delegation.allow = rules("w:/land");
    auto mother = spawned(order);
    return {mother, spawned(order_of("child", "w:/land/part"), "mother")};
  }

  fake_pod& pod_at(const std::string& id) {
    return processes.pods.at(id);
  }

  json document() {
    return json::parse(disk);
  }

  /// All that occupy slots.
  std::vector<slot_occupant> occupants() {
    perform(table->list_slots(++tickets));
    run();
    return get<pod::reply_slots>(tickets).occupants;
  }

  /// What was said of slots since this was last called.
  std::vector<slot_change> changes() {
    std::vector<slot_change> out_;
    for (auto& x : std::exchange(told, {}))
      out_.push_back(x.what);
    return out_;
  }

  /// The entry of a pod on disk; null if there is none.
  json on_disk(const std::string& name) {
    auto all = disk.empty() ? json{{"pods", json::array()}} : document();
    for (auto& x : all["pods"])
      if (x["name"] == name)
        return x;
    return {};
  }

  /// Whether somebody is named as a borrower on disk.
  bool is_lent_on_disk(const std::string& name) {
    if (disk.empty())
      return false;
    auto all = document();
    for (auto& x : all["scopes"]["loans"])
      if (x["borrower"] == name)
        return true;
    return false;
  }

  /// Whether the operator may write there, who lends all.
  bool is_back(const std::string& path) {
    auto level = table->table().permission_of(pod_operator, path);
    return level && *level == permission::write;
  }

  /// Signals that reached a process.
  std::vector<int> signals_to(const process_identity& who) {
    std::vector<int> out_;
    for (auto& [to, number] : processes.signals)
      if (to == who)
        out_.push_back(number);
    return out_;
  }
};

} // namespace muster::test
