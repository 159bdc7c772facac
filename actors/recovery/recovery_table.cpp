// SPDX-License-Identifier: Apache-2.0

#include "actors/recovery/recovery_table.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>

namespace muster {

namespace {

constexpr std::size_t max_name_bytes = 200;

/// A group has no more slots than a byte has values.
constexpr std::size_t max_slots = 256;

constexpr std::chrono::milliseconds max_deadline = std::chrono::minutes(10);

std::int64_t ns(std::chrono::milliseconds x) {
  return std::chrono::nanoseconds(x).count();
}

std::int64_t ms(std::int64_t x_ns) {
  return x_ns / 1'000'000;
}

} // namespace

// -- registrations ------------------------------------------------------------

expected<handler_registered> recovery_table::add(handler_definition what,
                                                 std::int64_t now_ns,
                                                 recovery_function run) {
  if (auto fine = check(what); !fine)
    return tl::unexpected<failure>{fine.error()};
  auto id = last_id_ + 1;
  handler entry{std::move(what), {}, backoff{settings_.quarantine, seed_ + id}};
  entry.numbers.name = entry.what.name;
  entry.numbers.policy = entry.what.policy;
  entry.numbers.owner = entry.what.owner;
  if (auto old = find(entry.what.name); old != handlers_.end()) {
    auto is_back = old->second.is_gone
                   || (!entry.what.owner.empty()
                       && old->second.what.owner == entry.what.owner);
    if (!is_back)
      return fail(errc::conflict,
                  fmt::format("there is a recovery handler '{}' already; "
                              "remove it first",
                              entry.what.name));
    auto& known = old->second;
    entry.guard = known.guard;
    entry.said_late = std::move(known.said_late);
    entry.numbers.runs = known.numbers.runs;
    entry.numbers.recovered = known.numbers.recovered;
    entry.numbers.last_ms = known.numbers.last_ms;
    entry.numbers.times_late = known.numbers.times_late;
    entry.numbers.last_error = known.numbers.last_error;
    drop(old, {errc::connection_lost,
               fmt::format("the recovery handler '{}' has registered again",
                           entry.what.name)});
  } else if (handlers_.size() >= settings_.max_handlers) {
    return fail(errc::overloaded,
                fmt::format("there is no room for the recovery handler '{}': "
                            "there are {} already",
                            entry.what.name, handlers_.size()));
  }
  if (run) {
    entry.is_function = true;
    auto is_guarded = entry.what.policy == handler_policy::quarantine;
    auto& to = is_running_functions_ ? added_functions_ : functions_;
    to.push_back({id, std::move(run), 0, is_guarded, false});
  }
  handlers_.emplace(++last_id_, std::move(entry));
  finish_if_done(now_ns);
  return handler_registered{id, handlers_.size(), take_effects()};
}

expected<recovery::effects> recovery_table::remove(const std::string& name,
                                                   std::int64_t now_ns) {
  auto i = find(name);
  if (i == handlers_.end())
    return fail(errc::not_found,
                fmt::format("there is no recovery handler '{}'", name));
  drop(i, {errc::finished,
           fmt::format("the recovery handler '{}' was removed", name)});
  finish_if_done(now_ns);
  return take_effects();
}

// -- passes -------------------------------------------------------------------

recovery::effects recovery_table::begin_pass(recovery::ticket from,
                                             std::int64_t now_ns) {
  if (pass_) {
    if (pass_->tickets.size() < settings_.max_waiting)
      pass_->tickets.push_back(from);
    else
      effects_.push_back(recovery::reply_refusal{
        from,
        {errc::overloaded,
         fmt::format("{} requests wait for the end of recovery pass {}; try "
                     "again later",
                     pass_->tickets.size(), number_)}});
    return take_effects();
  }
  ++number_;
  pass_.emplace();
  pass_->begun_ns = now_ns;
  pass_->tickets.push_back(from);
  auto left = run_functions(now_ns);
  std::vector<handlers::iterator> whom;
  if (handlers_.size() > functions_.size())
    for (auto i = handlers_.begin(); i != handlers_.end(); ++i) {
      auto& x = i->second;
      if (!x.said_late.empty())
        share_of(i).slots = std::exchange(x.said_late, {});
      if (!x.is_function && x.asked_by == 0 && !x.is_gone
          && x.guard.may_start(now_ns))
        whom.push_back(i);
    }
  ask_all(whom, left, now_ns);
  finish_if_done(now_ns);
  return take_effects();
}

recovery::effects recovery_table::on_time(std::int64_t now_ns) {
  if (!pass_)
    return {};
  while (!pass_->open.empty() && pass_->open.begin()->first <= now_ns) {
    auto id = pass_->open.begin()->second;
    auto i = handlers_.find(id);
    auto& x = i->second;
    x.numbers.is_late = true;
    ++x.numbers.times_late;
    ++counters_.late;
    share_of(i).is_late = true;
    settle(i);
  }
  finish_if_done(now_ns);
  return take_effects();
}

// -- what handlers did --------------------------------------------------------

recovery::effects
recovery_table::answered(handler_id id, std::uint64_t pass,
                         const std::vector<std::uint8_t>& slots,
                         std::int64_t now_ns) {
  auto i = find(id, pass);
  if (i == handlers_.end())
    return {};
  if (slots.size() > max_slots)
    return failed(id, pass,
                  {errc::too_large,
                   fmt::format("the recovery handler '{}' says that it put "
                               "back {} slots, and {} is the most there can be",
                               i->second.what.name, slots.size(), max_slots)},
                  now_ns);
  auto& x = i->second;
  x.asked_by = 0;
  x.numbers.is_late = false;
  x.numbers.last_ms = ms(now_ns - x.asked_ns);
  x.numbers.recovered += slots.size();
  counters_.recovered += slots.size();
  x.guard.on_started(now_ns);
  if (!slots.empty()) {
    auto& to = pass_ ? share_of(i).slots : x.said_late;
    to.insert(to.end(), slots.begin(), slots.end());
  }
  settle(i);
  finish_if_done(now_ns);
  return take_effects();
}

recovery::effects recovery_table::failed(handler_id id, std::uint64_t pass,
                                         const failure& why,
                                         std::int64_t now_ns) {
  auto i = find(id, pass);
  if (i == handlers_.end())
    return {};
  fail_handler(i, why, false, now_ns);
  finish_if_done(now_ns);
  return take_effects();
}

recovery::effects recovery_table::gone(handler_id id, const failure& why,
                                       std::int64_t now_ns) {
  auto i = handlers_.find(id);
  if (i == handlers_.end() || i->second.is_gone)
    return {};
  fail_handler(i, why, true, now_ns);
  finish_if_done(now_ns);
  return take_effects();
}

recovery::effects recovery_table::peer_gone(const std::string& owner,
                                            std::int64_t now_ns) {
  for (auto i = handlers_.begin(); i != handlers_.end();) {
    auto next = std::next(i);
    if (!owner.empty() && i->second.what.owner == owner)
      drop(i, {errc::connection_lost,
               fmt::format("the recovery handler '{}' went with its peer '{}'",
                           i->second.what.name, owner)});
    i = next;
  }
  finish_if_done(now_ns);
  return take_effects();
}

// -- properties ---------------------------------------------------------------

std::optional<std::int64_t> recovery_table::limit_ns() const {
  if (!pass_ || pass_->open.empty())
    return std::nullopt;
  return pass_->open.begin()->first;
}

std::vector<handler_view> recovery_table::list(std::int64_t now_ns) const {
  std::vector<handler_view> out;
  std::map<handler_id, std::uint64_t> runs;
  for (auto& x : functions_)
    runs[x.id] = x.runs;
  for (auto& [id, x] : handlers_) {
    auto& view = out.emplace_back(x.numbers);
    if (x.is_function)
      view.runs += runs[id];
    if (x.is_gone || !x.guard.may_start(now_ns))
      view.quarantine_ms = ms(x.guard.wait_ns(now_ns));
  }
  return out;
}

// -- implementation details ---------------------------------------------------

recovery_table::handlers::iterator
recovery_table::find(const std::string& name) {
  return std::find_if(handlers_.begin(), handlers_.end(),
                      [&](auto& x) { return x.second.what.name == name; });
}

recovery_table::handlers::iterator recovery_table::find(handler_id id,
                                                        std::uint64_t pass) {
  auto i = handlers_.find(id);
  auto owes = i != handlers_.end() && pass != 0 && i->second.asked_by == pass;
  return owes ? i : handlers_.end();
}

expected<void> recovery_table::check(const handler_definition& what) const {
  if (what.name.empty() || what.name.size() > max_name_bytes
      || !is_utf8(what.name))
    return fail(errc::invalid_argument,
                fmt::format("the name of a recovery handler must be 1 to {} "
                            "bytes of UTF-8",
                            max_name_bytes));
  if (what.deadline.count() < 1 || what.deadline > max_deadline)
    return fail(errc::invalid_argument,
                fmt::format("the deadline of the recovery handler '{}' must be "
                            "from 1 ms to {} ms",
                            what.name, max_deadline.count()));
  return {};
}

recovery_table::share& recovery_table::share_of(handlers::iterator i) {
  auto& out = pass_->shares[i->first];
  out.name = i->second.what.name;
  return out;
}

std::uint64_t recovery_table::run_functions(std::int64_t now_ns) {
  auto left = settings_.max_recoveries;
  auto count = functions_.size();
  auto first = count > 0 ? next_function_ % count : 0;
  is_running_functions_ = true;
  for (auto at = first; at < count; ++at)
    run_function(functions_[at], left, now_ns);
  for (std::size_t at = 0; at < first; ++at)
    run_function(functions_[at], left, now_ns);
  is_running_functions_ = false;
  // Those that were added meanwhile run in the next pass.
  std::move(added_functions_.begin(), added_functions_.end(),
            std::back_inserter(functions_));
  added_functions_.clear();
  // Where nothing is left for some, these come first the next time.
  if (left == 0)
    ++next_function_;
  if (std::exchange(has_ended_functions_, false))
    std::erase_if(functions_, [](auto& x) { return x.is_over; });
  return left;
}

void recovery_table::run_function(function& x, std::uint64_t& left,
                                  std::int64_t now_ns) {
  if (x.is_over)
    return;
  auto found = x.is_guarded ? handlers_.find(x.id) : handlers_.end();
  if (x.is_guarded && !found->second.guard.may_start(now_ns))
    return;
  ++x.runs;
  std::optional<failure> why;
  try {
    auto slots = x.run(std::min(left, settings_.max_recoveries_per_handler));
    if (x.is_guarded)
      found->second.guard.on_started(now_ns);
    if (slots.empty())
      return;
    auto i = handlers_.find(x.id);
    if (i == handlers_.end())
      return;
    left -= std::min<std::uint64_t>(left, slots.size());
    i->second.numbers.recovered += slots.size();
    counters_.recovered += slots.size();
    share_of(i).slots = std::move(slots);
  } catch (const std::exception& error) {
    why = failure{errc::internal, error.what()};
  } catch (...) {
    why = failure{errc::internal, "it threw"};
  }
  if (why)
    if (auto i = handlers_.find(x.id); i != handlers_.end())
      fail_handler(i, *why, false, now_ns);
}

void recovery_table::ask_all(const std::vector<handlers::iterator>& whom,
                             std::uint64_t left, std::int64_t now_ns) {
  // From the cursor on and round, until nothing is left.
  auto first = static_cast<std::size_t>(
    std::find_if(whom.begin(), whom.end(),
                 [&](auto i) { return i->first >= cursor_; })
    - whom.begin());
  std::vector<std::uint64_t> budgets(whom.size());
  auto is_short = false;
  for (std::size_t n = 0; n < whom.size(); ++n) {
    auto at = (first + n) % whom.size();
    budgets[at] = std::min(left, settings_.max_recoveries_per_handler);
    left -= budgets[at];
    if (!is_short && budgets[at] < settings_.max_recoveries_per_handler) {
      is_short = true;
      cursor_ = whom[at]->first;
    }
  }
  for (std::size_t at = 0; at < whom.size(); ++at) {
    auto& x = whom[at]->second;
    x.asked_by = number_;
    x.asked_ns = now_ns;
    ++x.numbers.runs;
    pass_->open.emplace(limit_of(x), whom[at]->first);
    effects_.push_back(recovery::ask{whom[at]->first, number_, budgets[at]});
  }
}

void recovery_table::fail_handler(handlers::iterator i, const failure& why,
                                  bool is_gone, std::int64_t now_ns) {
  auto id = i->first;
  auto& x = i->second;
  ++counters_.failures;
  if (pass_)
    share_of(i).has_failed = true;
  if (x.asked_by != 0)
    x.numbers.last_ms = ms(now_ns - x.asked_ns);
  switch (x.what.policy) {
    case handler_policy::evict:
      ++counters_.evicted;
      drop(i, why);
      return;
    case handler_policy::escalate:
      ++counters_.escalated;
      end_function(x, id);
      settle(i);
      effects_.push_back(recovery::escalate{id, x.what.name, why});
      handlers_.erase(i);
      return;
    case handler_policy::quarantine:
      x.asked_by = 0;
      x.is_gone = is_gone;
      x.numbers.is_late = false;
      x.numbers.last_error = why.message;
      x.guard.on_failure(now_ns);
      settle(i);
  }
}

void recovery_table::drop(handlers::iterator i, failure why) {
  end_function(i->second, i->first);
  settle(i);
  effects_.push_back(
    recovery::forget{i->first, i->second.what.name, std::move(why)});
  handlers_.erase(i);
}

void recovery_table::end_function(const handler& x, handler_id id) {
  if (x.is_function)
    for (auto* all : {&functions_, &added_functions_})
      for (auto& y : *all)
        if (y.id == id)
          y.is_over = has_ended_functions_ = true;
}

std::int64_t recovery_table::limit_of(const handler& x) {
  return x.asked_ns + ns(x.what.deadline);
}

void recovery_table::settle(handlers::iterator i) {
  if (pass_)
    pass_->open.erase({limit_of(i->second), i->first});
}

void recovery_table::finish_if_done(std::int64_t now_ns) {
  if (!pass_ || !pass_->open.empty())
    return;
  recovery_pass result;
  result.number = number_;
  for (auto& [id, x] : pass_->shares) {
    for (auto slot : x.slots)
      result.slots.push_back({x.name, slot});
    if (x.is_late)
      result.late.push_back(x.name);
    if (x.has_failed)
      result.failed.push_back(x.name);
  }
  ++counters_.passes;
  counters_.last_pass_ms = ms(now_ns - pass_->begun_ns);
  for (auto to : pass_->tickets)
    effects_.push_back(recovery::reply_pass{to, result});
  pass_.reset();
}

recovery::effects recovery_table::take_effects() {
  return std::exchange(effects_, {});
}

} // namespace muster
