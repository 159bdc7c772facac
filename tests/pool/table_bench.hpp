// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/fake_workers.hpp"
#include "tests/support/suite.hpp"

#include "actors/pool/pool_table.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace muster::test {

/// A table of workers with processes, sockets and a disk that a test moves by
/// hand. What happens waits until the test lets the table hear of it.
struct table_bench {
  pool_settings settings;
  fake_workers processes;
  scripted_sockets& sockets = *processes.sockets;
  std::unique_ptr<pool_table> table;
  std::mt19937_64 random{1};
  std::int64_t now_ns = 1'000'000'000;

  /// The document that is on disk, and the one that is on its way there.
  std::string disk;
  std::optional<std::string> out;

  /// What happened to processes and to connections, in order.
  std::deque<std::function<pool::effects()>> process_events;
  std::deque<std::function<pool::effects()>> socket_events;

  pool::ticket tickets = 0;
  std::map<pool::ticket, pool::effect> answers;
  /// Sockets that were kept when the table became ready.
  std::optional<std::set<std::string>> kept_sockets;
  std::vector<std::string> warnings;
  /// What was said of those who occupy slots.
  std::vector<slot_event> told;
  std::vector<std::string> removed;
  std::vector<std::string> copies;
  std::vector<process_order> orders;
  /// How a look at a process fails, if it does.
  std::optional<failure> look_fails;
  /// Called with each lease, before anybody else hears of it.
  std::function<void(const pool::reply_lease&)> on_lease;

  table_bench() {
    settings.folder = "/state/pool";
    settings.version = "1.0";
    settings.program = "/bin/muster";
    settings.max_starts_at_once = 1'000;
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
    table = std::make_unique<pool_table>(settings, env());
  }

  // -- the ports --------------------------------------------------------------

  void perform(pool::effects effects) {
    for (auto& effect : effects)
      std::visit([this](auto& x) { on(x); }, effect);
  }

  process_listener process_listener_of(const std::string& sid) {
    return [this, sid, who = table.get()](process_event event) {
      process_events.push_back([=, this]() -> pool::effects {
        if (who != table.get())
          return {};
        if (std::holds_alternative<process_ready>(event))
          return table->ready(sid);
        return table->ended(sid, std::get<process_ended>(event));
      });
    };
  }

  socket_listener socket_listener_of(const std::string& sid) {
    return [this, sid, who = table.get()](socket_event event) {
      socket_events.push_back([=, this]() -> pool::effects {
        if (who != table.get())
          return {};
        if (auto* opened = std::get_if<socket_opened>(&event))
          return table->opened(sid, opened->id, opened->peer);
        if (auto* frame = std::get_if<socket_frame>(&event))
          return table->heard(sid, frame->id, decode_reply(frame->text));
        auto& closed = std::get<socket_closed>(event);
        return table->closed(sid, closed.id, closed.why);
      });
    };
  }

  expected<std::optional<process_identity>> find(std::int32_t pid) {
    if (look_fails)
      return tl::unexpected<failure>{*look_fails};
    return processes.find(pid);
  }

  void on(pool::save& x) {
    CAF_REQUIRE(!out);
    // Whatever is written can be read.
    CAF_REQUIRE(read_pool_document(x.text, "registry.json"));
    out = std::move(x.text);
  }
  void on(pool::keep_copy& x) {
    copies.push_back(x.text);
  }
  void on(pool::sweep_sockets& x) {
    kept_sockets = std::move(x.kept);
  }
  void on(pool::remove_socket& x) {
    removed.push_back(x.path);
  }
  void on(pool::start& x) {
    process_order order;
    order.program = settings.program;
    order.arguments = {"--sid", x.sid, "--sock", x.sock};
    order.environment = {"N=" + x.nonce};
    order.ready_within = settings.spawn_timeout;
    perform(table->started(x.sid,
                           processes.start(order, process_listener_of(x.sid))));
  }
  void on(pool::adopt& x) {
    perform(table->adopted(x.sid,
                           processes.adopt(x.who, process_listener_of(x.sid))));
  }
  void on(pool::look& x) {
    perform(table->looked(x.sid, find(x.pid)));
  }
  void on(pool::identify& x) {
    perform(table->identified(x.sid, find(x.pid)));
  }
  void on(pool::send_signal& x) {
    if (auto sent = processes.send(x.who, x.number); !sent)
      perform(table->signal_refused(x.sid, sent.error()));
  }
  void on(pool::let_go&) {
    processes.stop();
  }
  void on(pool::connect& x) {
    perform(table->connecting(
      x.sid, sockets.connect(x.sock, socket_listener_of(x.sid))));
  }
  void on(pool::send& x) {
    if (auto sent = sockets.send(x.connection, encode(x.what)); !sent)
      perform(table->send_refused(x.sid));
  }
  void on(pool::ping& x) {
    (void)sockets.send(x.connection, encode(worker_status{}));
  }

  void on(pool::probe& x) {
    perform(table->probed(x.sid, x.connection, sockets.heard(x.connection)));
  }
  void on(pool::hang_up& x) {
    sockets.close(x.connection);
  }
  void on(pool::warn& x) {
    warnings.push_back(x.text);
  }
  void on(pool::tell& x) {
    told.push_back(std::move(x.what));
  }
  template <class Reply>
  void on(Reply& x) {
    if constexpr (std::is_same_v<Reply, pool::reply_lease>)
      if (on_lease)
        on_lease(x);
    CAF_CHECK(answers.emplace(x.to, x).second);
  }

  // -- moving it --------------------------------------------------------------

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

  bool deliver(std::deque<std::function<pool::effects()>>& events) {
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

  pool::ticket spawn(const std::string& request_id = {}) {
    perform(table->spawn(++tickets, request_id));
    return tickets;
  }
  pool::ticket take(const std::string& session, std::uint64_t seq = 1) {
    perform(table->take(++tickets, session, seq));
    return tickets;
  }
  pool::ticket stop(const std::string& prefix = {}) {
    perform(table->stop(++tickets, prefix));
    return tickets;
  }
  pool::ticket collect() {
    perform(table->collect(++tickets));
    return tickets;
  }
  pool::ticket list() {
    perform(table->list(++tickets));
    return tickets;
  }
  pool::ticket tick() {
    perform(table->tick(++tickets));
    return tickets;
  }
  pool::ticket shut_down() {
    perform(table->shut_down(++tickets));
    return tickets;
  }
  pool::ticket probe() {
    perform(table->probe(++tickets));
    return tickets;
  }
  pool::ticket spawn_slot(const slot_id& slot) {
    perform(table->spawn_slot(++tickets, slot));
    return tickets;
  }
  pool::ticket find_slot(const slot_id& slot) {
    perform(table->find_slot(++tickets, slot));
    return tickets;
  }
  pool::ticket stop_slot(const slot_id& slot) {
    perform(table->stop_slot(++tickets, slot));
    return tickets;
  }
  void release(const std::string& sid, const std::string& session) {
    perform(table->release(sid, session));
  }
  void lose_lease(const std::string& sid, const std::string& session,
                  const failure& why) {
    perform(table->lose_lease(sid, session, why));
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

  template <class T>
  T get(pool::ticket from) {
    auto i = answers.find(from);
    CAF_REQUIRE(i != answers.end());
    if (auto* refusal = std::get_if<pool::reply_refusal>(&i->second))
      if constexpr (!std::is_same_v<T, pool::reply_refusal>)
        CAF_MESSAGE("refused: " << refusal->why.message);
    CAF_REQUIRE(std::holds_alternative<T>(i->second));
    return std::get<T>(i->second);
  }

  failure refusal(pool::ticket from) {
    return get<pool::reply_refusal>(from).why;
  }

  std::vector<worker_view> listed() {
    auto t = list();
    run();
    return get<pool::reply_list>(t).workers;
  }

  /// That of the only worker that there is.
  worker_phase phase() {
    auto all = listed();
    CAF_REQUIRE_EQUAL(all.size(), 1u);
    return all[0].phase;
  }

  /// A worker that is ready and nobody's.
  std::string spawned() {
    auto t = spawn();
    run();
    return get<pool::reply_worker>(t).worker.sid;
  }

  /// A session gets a worker, and starts in it.
  worker_lease leased(const std::string& session, std::uint64_t seq = 1) {
    auto t = take(session, seq);
    run();
    auto lease = get<pool::reply_lease>(t).lease;
    processes.workers.at(lease.sid).standing = {session, seq, true};
    return lease;
  }

  json document() {
    return json::parse(disk);
  }

  /// All that occupy slots.
  std::vector<slot_occupant> occupants() {
    perform(table->list_slots(++tickets));
    run();
    return get<pool::reply_slots>(tickets).occupants;
  }

  /// What was said of slots since this was last called.
  std::vector<slot_change> changes() {
    std::vector<slot_change> out_;
    for (auto& x : std::exchange(told, {}))
      out_.push_back(x.what);
    return out_;
  }

  /// Signals that reached a process.
  std::vector<int> signals_to(const process_identity& who) {
    std::vector<int> out_;
    for (auto& [to, number] : processes.signals)
      if (to == who)
        out_.push_back(number);
    return out_;
  }

  process_identity who(const std::string& sid) {
    return processes.workers.at(sid).who;
  }
};

} // namespace muster::test
