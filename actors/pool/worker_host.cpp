// SPDX-License-Identifier: Apache-2.0

#include "actors/pool/worker_host.hpp"

#include <fmt/format.h>

#include <iterator>
#include <utility>

namespace muster {

namespace {

/// Messages that a worker may be ahead of its session. One that works says so
/// once a second, and a session that is not heard of for longer than that is
/// far behind; more than this no worker of ours says.
constexpr std::size_t max_waiting = 1'024;

constexpr auto max_frame_bytes = socket_limits{}.max_frame_bytes;

/// Why a worker is lost whose connection refuses something: one that nobody
/// knows any more was lost before.
failure lost_by(failure why) {
  if (why.code == errc::not_found)
    why.code = errc::connection_lost;
  return why;
}

} // namespace

// -- inbox --------------------------------------------------------------------

void worker_host::inbox::put(socket_event event) {
  std::function<void()> wake;
  {
    std::lock_guard<std::mutex> guard{mutex_};
    if (!wake_)
      return;
    if (events_.size() >= max_waiting) {
      auto* frame = std::get_if<socket_frame>(&event);
      events_.clear();
      events_.push_back(socket_closed{
        frame ? frame->id : 0,
        {errc::overloaded, fmt::format("the worker said more than {} things at "
                                       "a time",
                                       max_waiting)}});
    } else {
      events_.push_back(std::move(event));
    }
    wake = wake_;
  }
  wake();
}

std::optional<socket_event> worker_host::inbox::take() {
  std::lock_guard<std::mutex> guard{mutex_};
  if (events_.empty())
    return std::nullopt;
  auto event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void worker_host::inbox::close() {
  std::lock_guard<std::mutex> guard{mutex_};
  wake_ = nullptr;
}

// -- constructors and destructors ---------------------------------------------

worker_host::worker_host(std::shared_ptr<socket_port> sockets,
                         connection_id connection,
                         const strategy_settings& settings,
                         std::chrono::milliseconds patience,
                         std::function<std::int64_t()> steady_ns,
                         std::function<void()> wake)
  : sockets_(std::move(sockets)), connection_(connection), settings_(settings),
    patience_(patience), steady_ns_(std::move(steady_ns)),
    inbox_(std::make_shared<inbox>(std::move(wake))) {
  auto heard = sockets_->listen(connection_, [in = inbox_](socket_event event) {
    in->put(std::move(event));
  });
  if (!heard)
    lost_ = lost_by(std::move(heard.error()));
}

worker_host::~worker_host() {
  inbox_->close();
}

// -- strategy_host ------------------------------------------------------------

void worker_host::start(strategy_start what) {
  say_all(start_frames({std::move(what), settings_}, max_frame_bytes));
}

host_report worker_host::advance() {
  while (auto event = inbox_->take()) {
    if (lost_)
      continue;
    if (auto* closed = std::get_if<socket_closed>(&*event)) {
      lost_ = std::move(closed->why);
    } else if (auto* frame = std::get_if<socket_frame>(&*event)) {
      auto reply = decode_reply(frame->text);
      if (!reply)
        lost_ = reply.error();
      else if (auto report = on(std::move(*reply)))
        return std::move(*report);
    }
  }
  auto now = steady_ns_();
  if (!lost_ && limit_ns_ && now >= *limit_ns_)
    lost_ = {errc::timeout, fmt::format("the worker has said nothing for {} ms",
                                        patience_.count())};
  if (lost_ && !std::exchange(told_, true))
    return host_lost{*lost_};
  if (!limit_ns_)
    return host_waiting{};
  return host_waiting{std::chrono::nanoseconds{*limit_ns_ - now}};
}

void worker_host::resolve(host_result result) {
  expect();
  say(encode(worker_resolve{std::move(result)}));
}

void worker_host::answer(std::vector<answered_event> answers) {
  say_all(answer_frames(answers, max_frame_bytes));
}

void worker_host::committed(std::uint64_t seq) {
  say(encode(worker_committed{seq}));
}

std::vector<log_line> worker_host::take_logs() {
  return std::exchange(logs_, {});
}

std::uint64_t worker_host::memory_bytes() const {
  return memory_bytes_;
}

// -- implementation details ---------------------------------------------------

void worker_host::say(std::string frame) {
  if (lost_)
    return;
  if (auto sent = sockets_->send(connection_, std::move(frame)); !sent)
    lost_ = lost_by(std::move(sent.error()));
}

void worker_host::say_all(expected<std::vector<std::string>> frames) {
  expect();
  if (!frames) {
    lost_ = frames.error();
    return;
  }
  unsaid_.assign(std::make_move_iterator(frames->begin()),
                 std::make_move_iterator(frames->end()));
  say_next();
}

void worker_host::say_next() {
  if (unsaid_.empty())
    return;
  auto frame = std::move(unsaid_.front());
  unsaid_.pop_front();
  say(std::move(frame));
}

void worker_host::expect() {
  limit_ns_ = steady_ns_() + std::chrono::nanoseconds{patience_}.count();
}

std::optional<host_report> worker_host::on(worker_reply reply) {
  if (std::holds_alternative<worker_working>(reply)) {
    if (limit_ns_)
      expect();
    return std::nullopt;
  }
  if (std::holds_alternative<worker_taken>(reply)) {
    expect();
    say_next();
    return std::nullopt;
  }
  if (auto* report = std::get_if<worker_report>(&reply)) {
    limit_ns_.reset();
    memory_bytes_ = report->memory_bytes;
    std::move(report->logs.begin(), report->logs.end(),
              std::back_inserter(logs_));
    return std::visit([](auto& x) { return host_report{std::move(x)}; },
                      report->what);
  }
  if (auto* refusal = std::get_if<worker_refusal>(&reply)) {
    lost_ = std::move(refusal->why);
  } else if (std::holds_alternative<worker_farewell>(reply)) {
    lost_ = {errc::connection_lost, "the worker was told to end"};
  }
  return std::nullopt;
}

} // namespace muster
