// SPDX-License-Identifier: Apache-2.0

#include "actors/recovery/recovery_groups.hpp"

#include "actors/recovery/recovery_passes.hpp"
#include "actors/recovery/slot_group.hpp"

#include "messages/receipt.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace muster::recovery {

namespace {

using registry_pointer = recovery_registry_pointer;

// -- groups -------------------------------------------------------------------

std::string handler_of(const std::string& group) {
  return std::string{group_prefix} + group;
}

failure no_group(const std::string& name) {
  return {errc::not_found,
          fmt::format("there is no group '{}'; 'muster group list' shows those "
                      "that there are",
                      name)};
}

/// A group has come to its end, as it was told to.
void forget_group(registry_pointer self, const std::string& name) {
  auto& st = self->state;
  auto i = st.groups.find(name);
  auto asked = std::move(i->second.asked);
  st.names.erase(i->second.id);
  st.groups.erase(i);
  if (auto removed = st.table->remove(handler_of(name), now_ns(self)))
    perform(self, std::move(*removed));
  for (auto& [number, tell] : asked)
    tell(no_group(name));
}

/// Asks a group that there is. Its end is an answer as well: the framework
/// drops a request that an actor was working on when it ended.
/// @param tell gets the answer, once.
template <class T, class Tell, class... Ts>
void ask_group(registry_pointer self, const std::string& name, Tell tell,
               Ts... request) {
  auto& group = self->state.groups.at(name);
  if (group.is_lost) {
    tell(expected<T>{tl::unexpected<failure>{stopping()}});
    return;
  }
  auto number = ++self->state.last_asked;
  group.asked.emplace(number, [=](const failure& why) mutable {
    tell(expected<T>{tl::unexpected<failure>{why}});
  });
  auto end = [=, who = group.who](expected<T> x) mutable {
    auto i = self->state.groups.find(name);
    if (i != self->state.groups.end() && i->second.who == who
        && i->second.asked.erase(number) > 0)
      tell(std::move(x));
  };
  self->request(group.who, caf::infinite, request...)
    .then([=](T& x) mutable { end(std::move(x)); },
          [=](const caf::error& error) mutable {
            // Its end is told to all who have asked.
            if (!is_end(error))
              end(tl::unexpected<failure>{from_caf(error)});
          });
}

/// Starts the actor of a group, and makes it a handler.
expected<recovery_registry_state::group*>
start_group(registry_pointer self, slot_group_document document, bool is_new) {
  auto& st = self->state;
  auto name = document.definition.name;
  auto weak = caf::actor_cast<caf::weak_actor_ptr>(self);
  auto parts = std::make_shared<slot_group_parts>();
  parts->settings = st.parts->settings.groups;
  parts->settings.max_recoveries
    = st.parts->settings.max_recoveries_per_handler;
  parts->env = st.parts->env;
  parts->persistence = st.parts->persistence;
  parts->keeper = document.definition.kind == slot_kind::pod
                    ? st.parts->pods
                    : st.parts->workers;
  parts->warn = st.parts->warn;
  parts->wake = [weak] {
    if (auto strong = weak.lock())
      caf::anon_send(caf::actor_cast<caf::actor>(strong), beat_atom::value);
  };
  parts->note
    = [weak, id = document.id](std::size_t healthy, std::size_t wanted) {
        if (auto strong = weak.lock())
          caf::anon_send(caf::actor_cast<caf::actor>(strong), group_atom::value,
                         report_atom::value, id,
                         static_cast<std::uint64_t>(healthy),
                         static_cast<std::uint64_t>(wanted));
      };
  recovery_registry_state::group out;
  out.id = document.id;
  out.request_id = document.request_id;
  out.is_made = !is_new;
  out.definition = document.definition;
  out.wanted = document.definition.slots;
  auto who = self->spawn(slot_group_behavior,
                         std::shared_ptr<const slot_group_parts>{parts},
                         std::move(document), is_new);
  out.who = who;
  auto added = add_handler(self, {handler_of(name), handler_policy::escalate},
                           caf::actor_cast<recovery_handler_actor>(who));
  if (!added) {
    self->send_exit(who, caf::exit_reason::user_shutdown);
    return tl::unexpected<failure>{added.error()};
  }
  st.names[out.id] = name;
  return &(st.groups[name] = std::move(out));
}

/// One document less is to be read; the last one lets requests in.
void end_read(registry_pointer self) {
  if (--self->state.unread > 0)
    return;
  for (auto& request : std::exchange(self->state.early, {}))
    request();
}

void on_document(registry_pointer self, const std::string& path,
                 const expected<std::string>& text) {
  auto& st = self->state;
  auto file = path.substr(path.find('/') + 1);
  auto full = fmt::format("{}/{}", st.parts->settings.groups.folder, file);
  auto name = file.substr(0, file.size() - std::string_view{".json"}.size());
  auto read = text.and_then(
    [&](const std::string& x) { return read_slot_group(x, full); });
  auto group = read.and_then([&](slot_group_document& x) {
    return start_group(self, std::move(x), false);
  });
  if (!group) {
    st.broken[name] = group.error();
    st.parts->warn(group.error().message);
    if (text)
      keep_broken_copy(self, st.parts->persistence, path, *text);
  }
  end_read(self);
}

/// Answers a request about groups, unless that was refused since: the node may
/// stop while a group is at work.
template <class T>
class group_promise {
public:
  explicit group_promise(registry_pointer self)
    : self_(self), promise_(self->make_response_promise<T>()),
      number_(++self->state.last_waiting) {
    self_->state.waiting.emplace(
      number_, [promise = promise_](const failure& why) mutable {
        promise.deliver(to_caf(why));
      });
  }

  void deliver(expected<T> x) {
    if (self_->state.waiting.erase(number_) == 0)
      return;
    if (x)
      promise_.deliver(std::move(*x));
    else
      promise_.deliver(to_caf(x.error()));
  }

  [[nodiscard]] caf::result<T> result() const {
    return promise_;
  }

private:
  registry_pointer self_;
  caf::typed_response_promise<T> promise_;
  std::uint64_t number_;
};

using view_promise = group_promise<slot_group_view>;

/// Executes a request, now or once the groups are read.
/// @param run does it, with a promise that it keeps.
template <class T, class Run>
caf::result<T> enter_group(registry_pointer self, Run run) {
  auto& st = self->state;
  group_promise<T> promise{self};
  auto work = [=]() mutable {
    auto& now = self->state;
    if (now.unreadable)
      promise.deliver(tl::unexpected<failure>{*now.unreadable});
    else
      run(promise);
  };
  if (st.is_stopping)
    promise.deliver(tl::unexpected<failure>{stopping()});
  else if (st.unread == 0)
    work();
  else if (st.early.size() < st.parts->settings.max_waiting)
    st.early.push_back(std::move(work));
  else
    promise.deliver(fail(errc::overloaded,
                         fmt::format("{} requests wait until the groups are "
                                     "read; try again later",
                                     st.early.size())));
  return promise.result();
}

/// Whether there is a group of that name, as far as others may know.
expected<void> check_group(registry_pointer self, const std::string& name) {
  auto& st = self->state;
  if (auto i = st.groups.find(name); i != st.groups.end() && i->second.is_made)
    return {};
  if (auto i = st.broken.find(name); i != st.broken.end())
    return tl::unexpected<failure>{i->second};
  return tl::unexpected<failure>{no_group(name)};
}

/// Passes a request on to a group, whose answer is that of the client.
template <class T, class... Ts>
caf::result<T>
pass_on(registry_pointer self, const std::string& name, Ts... request) {
  return enter_group<T>(self, [=](group_promise<T> promise) {
    if (auto fine = check_group(self, name); !fine) {
      promise.deliver(tl::unexpected<failure>{fine.error()});
      return;
    }
    ask_group<T>(
      self, name, [=](expected<T> x) mutable { promise.deliver(std::move(x)); },
      request...);
  });
}

/// A new group is on disk, or could not be written.
void end_making(registry_pointer self, const std::string& name,
                const slot_group_actor& who,
                const expected<slot_group_view>& result) {
  auto& st = self->state;
  auto i = st.groups.find(name);
  if (i == st.groups.end() || i->second.who != who)
    return;
  auto makers = std::exchange(i->second.makers, {});
  i->second.is_made = result.has_value();
  if (!result) {
    // What is not on disk is not there.
    self->send_exit(who, caf::exit_reason::user_shutdown);
    forget_group(self, name);
  }
  for (auto& tell : makers)
    tell(result);
}

void make_group(registry_pointer self, const slot_group_definition& what,
                const std::string& request_id, view_promise promise) {
  auto& st = self->state;
  auto refuse = [&](failure why) {
    promise.deliver(tl::unexpected<failure>{std::move(why)});
  };
  if (auto fine = check(what); !fine)
    return refuse(fine.error());
  if (auto wrong = check_request_id(request_id))
    return refuse(*wrong);
  auto tell
    = [=](const expected<slot_group_view>& x) mutable { promise.deliver(x); };
  if (auto i = st.groups.find(what.name); i != st.groups.end()) {
    // A repeat is given the group that it has made.
    auto& known = i->second;
    if (request_id == once || known.request_id != request_id)
      return refuse({errc::conflict,
                     fmt::format("there is a group '{}' already", what.name)});
    auto wanted = what;
    wanted.slots = known.definition.slots;
    if (wanted != known.definition)
      return refuse({errc::conflict,
                     fmt::format("the request '{}' has made group '{}' of "
                                 "something else; take another request id, and "
                                 "another name",
                                 request_id, what.name)});
    if (!known.is_made) {
      known.makers.push_back(std::move(tell));
      return;
    }
    ask_group<slot_group_view>(
      self, what.name,
      [=](expected<slot_group_view> x) mutable {
        promise.deliver(std::move(x));
      },
      group_atom::value, show_atom::value);
    return;
  }
  if (auto i = st.broken.find(what.name); i != st.broken.end())
    return refuse(i->second);
  if (st.groups.size() >= st.parts->settings.max_groups)
    return refuse(
      {errc::overloaded, fmt::format("there are {} groups, as many as "
                                     "recovery.max-groups allows",
                                     st.groups.size())});
  slot_group_document document;
  document.id = make_group_id(st.parts->env.wall_ms(), st.parts->env.random());
  document.request_id = request_id;
  document.definition = what;
  auto group = start_group(self, std::move(document), true);
  if (!group)
    return refuse(group.error());
  (*group)->makers.push_back(std::move(tell));
  self
    ->request(caf::actor_cast<slot_group_impl>((*group)->who), caf::infinite,
              group_atom::value, create_atom::value)
    .then([=, who = (*group)->who, name = what.name](
            slot_group_view& x) { end_making(self, name, who, std::move(x)); },
          [=, who = (*group)->who, name = what.name](const caf::error& error) {
            end_making(self, name, who,
                       tl::unexpected<failure>{from_caf(error)});
          });
}

using views = std::vector<slot_group_view>;

void collect_views(registry_pointer self, group_promise<views> promise) {
  struct collection {
    std::size_t open = 1;
    views found;
  };
  auto all = std::make_shared<collection>();
  auto done = [=]() mutable {
    if (--all->open > 0)
      return;
    std::sort(all->found.begin(), all->found.end(), [](auto& a, auto& b) {
      return a.definition.name < b.definition.name;
    });
    promise.deliver(std::move(all->found));
  };
  for (auto& [name, why] : self->state.broken) {
    slot_group_view damaged;
    damaged.definition.name = name;
    damaged.error = why.message;
    all->found.push_back(std::move(damaged));
  }
  for (auto& [name, group] : self->state.groups) {
    if (!group.is_made)
      continue;
    ++all->open;
    ask_group<slot_group_view>(
      self, name,
      [=](expected<slot_group_view> x) mutable {
        // Otherwise it has gone since.
        if (x)
          all->found.push_back(std::move(*x));
        done();
      },
      group_atom::value, show_atom::value);
  }
  done();
}

} // namespace

// -- requests -----------------------------------------------------------------

caf::result<slot_group_view> create_group(registry_pointer self,
                                          const slot_group_definition& what,
                                          const std::string& request_id) {
  return enter_group<slot_group_view>(self, [=](view_promise promise) {
    make_group(self, what, request_id, std::move(promise));
  });
}

caf::result<views> list_groups(registry_pointer self) {
  return enter_group<views>(self, [=](group_promise<views> promise) {
    collect_views(self, std::move(promise));
  });
}

caf::result<slot_group_view> show_group(registry_pointer self,
                                        const std::string& name) {
  return pass_on<slot_group_view>(self, name, group_atom::value,
                                  show_atom::value);
}

caf::result<slot_group_view> scale_group(registry_pointer self,
                                         const std::string& name,
                                         std::uint8_t slots) {
  return pass_on<slot_group_view>(self, name, group_atom::value,
                                  scale_atom::value, slots);
}

caf::result<slot_group_view> reset_group(registry_pointer self,
                                         const std::string& name) {
  return pass_on<slot_group_view>(self, name, group_atom::value,
                                  reset_atom::value);
}

caf::result<caf::ok_atom> delete_group(registry_pointer self,
                                       const std::string& name) {
  using promise_type = group_promise<caf::ok_atom>;
  return enter_group<caf::ok_atom>(self, [=](promise_type promise) {
    if (auto fine = check_group(self, name); !fine) {
      promise.deliver(tl::unexpected<failure>{fine.error()});
      return;
    }
    ask_group<caf::ok_atom>(
      self, name,
      [=](expected<caf::ok_atom> x) mutable {
        // Its end may have come by the request of somebody else.
        if (!x && x.error().code == errc::not_found)
          promise.deliver(caf::ok_atom::value);
        else
          promise.deliver(std::move(x));
      },
      group_atom::value, delete_atom::value);
  });
}

// -- what happens -------------------------------------------------------------

void read_groups(registry_pointer self) {
  auto persistence = self->state.parts->persistence;
  self
    ->request(persistence, caf::infinite, list_atom::value,
              std::string{slot_group_folder})
    .then(
      [=](const std::vector<std::string>& paths) {
        for (auto& path : paths) {
          ++self->state.unread;
          self->request(persistence, caf::infinite, read_atom::value, path)
            .then(
              [=](const std::string& text) { on_document(self, path, text); },
              [=](const caf::error& error) {
                on_document(self, path,
                            tl::unexpected<failure>{from_caf(error)});
              });
        }
        end_read(self);
      },
      [=](const caf::error& error) {
        self->state.unreadable = from_caf(error);
        self->state.parts->warn(self->state.unreadable->message);
        end_read(self);
      });
}

bool group_down(registry_pointer self, const caf::down_msg& x) {
  auto& groups = self->state.groups;
  auto i = std::find_if(groups.begin(), groups.end(), [&](auto& y) {
    return y.second.who.address() == x.source;
  });
  if (i == groups.end())
    return false;
  auto was_told_to = x.reason == caf::exit_reason::normal;
  if (was_told_to) {
    forget_group(self, std::string{i->first});
  } else {
    i->second.is_lost = true;
    for (auto& [number, tell] : std::exchange(i->second.asked, {}))
      tell(stopping());
  }
  return was_told_to;
}

void slot_changed(registry_pointer self, slot_event& x) {
  auto& st = self->state;
  auto name = st.names.find(x.slot.group);
  if (st.is_stopping || name == st.names.end())
    return;
  auto is_over
    = x.what == slot_change::ended || x.what == slot_change::released;
  self->send(st.groups.at(name->second).who, slot_atom::value, std::move(x));
  if (is_over)
    plan_pass(self);
}

void health_changed(registry_pointer self, const std::string& id,
                    std::uint64_t healthy, std::uint64_t wanted) {
  auto& st = self->state;
  auto name = st.names.find(id);
  if (name == st.names.end())
    return;
  auto& group = st.groups.at(name->second);
  group.healthy = healthy;
  group.wanted = wanted;
}

void stop_groups(registry_pointer self) {
  auto& st = self->state;
  st.early.clear();
  for (auto& [number, refuse] : std::exchange(st.waiting, {}))
    refuse(stopping());
  for (auto& [name, group] : st.groups) {
    self->send(group.who, stop_atom::value);
    self->send_exit(group.who, caf::exit_reason::user_shutdown);
  }
}

} // namespace muster::recovery
