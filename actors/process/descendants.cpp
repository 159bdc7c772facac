// SPDX-License-Identifier: Apache-2.0

#include "actors/process/descendants.hpp"

#include "actors/process/descriptor.hpp"
#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>
#include <thread>

#include <fcntl.h>

namespace muster {

namespace {

/// How often processes are looked at that are within `execve`, which takes
/// microseconds, and how often it is looked for new ones.
constexpr int max_looks = 10;

/// What is read at once: more than the environment of most processes, and more
/// than that of any.
constexpr std::size_t usual_bytes = 64 * 1'024;
constexpr std::size_t most_bytes = 16 * 1'024 * 1'024;

// -- one process --------------------------------------------------------------

/// The environment of a process or a thread.
struct environment_text {
  /// `NAME=VALUE`, each followed by a zero byte; empty if there is nothing to
  /// read.
  std::string all;
  /// Whether nobody may look; the kernel says so as well of what has no memory.
  bool is_hidden = false;
};

/// Reads it in one piece, so that it is that of one memory: between two reads,
/// the process may begin another program.
/// @returns `overloaded` if there is no descriptor, or no memory.
expected<environment_text> read_environment(const std::string& path) {
  for (auto room = usual_bytes;; room *= 8) {
    descriptor file{uninterrupted(
      [&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); })};
    environment_text out;
    out.all.resize(room);
    auto size = file ? uninterrupted([&] {
      return ::read(file.get(), out.all.data(), out.all.size());
    })
                     : -1;
    auto error = size < 0 ? errno : 0;
    if (error == EMFILE || error == ENFILE || error == ENOMEM)
      return fail(errc::overloaded, fmt::format("cannot read '{}': {}", path,
                                                std::strerror(error)));
    out.is_hidden = error == EACCES || error == EPERM;
    out.all.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    if (out.all.size() < room || room >= most_bytes)
      return out;
  }
}

enum class verdict {
  yes,
  no,
  /// It has ended, or is about to.
  gone,
  /// It is within `execve`.
  unknown,
};

/// What is known of a variable of a process.
struct variable_of {
  verdict has = verdict::no;
  std::string value = {};

  friend bool operator==(const variable_of&, const variable_of&) = default;
};

variable_of look_up(std::string_view all, std::string_view name) {
  while (!all.empty()) {
    auto entry = all.substr(0, all.find('\0'));
    all.remove_prefix(std::min(entry.size() + 1, all.size()));
    if (entry.size() > name.size() && entry.starts_with(name)
        && entry[name.size()] == '=')
      return {verdict::yes, std::string{entry.substr(name.size() + 1)}};
  }
  return {};
}

/// The numbers that a folder of the kernel holds, in order.
expected<std::vector<std::int64_t>> numbers_in(const std::string& folder) {
  std::vector<std::int64_t> out;
  std::error_code code;
  std::filesystem::directory_iterator i{folder, code};
  for (; !code && i != std::filesystem::directory_iterator{};
       i.increment(code)) {
    auto text = i->path().filename().string();
    std::int64_t number = 0;
    auto [end, wrong]
      = std::from_chars(text.data(), text.data() + text.size(), number);
    if (wrong == std::errc{} && end == text.data() + text.size())
      out.push_back(number);
  }
  if (code)
    return fail(errc::overloaded,
                fmt::format("'{}' cannot be read: {}", folder, code.message()));
  std::sort(out.begin(), out.end());
  return out;
}

/// Looks at the threads of a process whose first one shows nothing: that one
/// has ended, or one of them is about to begin another program.
expected<variable_of> look_at_threads(std::int64_t pid, std::string_view name) {
  auto threads = numbers_in(fmt::format("/proc/{}/task", pid));
  // It is gone meanwhile.
  if (!threads)
    return variable_of{verdict::unknown};
  auto is_one_left = false;
  for (auto thread : *threads) {
    auto stat = stat_of_thread(pid, thread);
    if (!stat)
      return tl::unexpected<failure>{stat.error()};
    if (*stat && ((*stat)->is_exiting || (*stat)->is_over()))
      continue;
    // One that is gone may have become the first one, with another program.
    is_one_left = true;
    if (!*stat)
      continue;
    auto text
      = read_environment(fmt::format("/proc/{}/task/{}/environ", pid, thread));
    if (!text)
      return tl::unexpected<failure>{text.error()};
    // They all have the same memory.
    if (!text->all.empty())
      return look_up(text->all, name);
    if (text->is_hidden && (*stat)->code_begin != 0)
      return variable_of{verdict::no};
  }
  // One of them may have started another before it ended.
  auto now = numbers_in(fmt::format("/proc/{}/task", pid));
  is_one_left = is_one_left || !now
                || !std::includes(threads->begin(), threads->end(),
                                  now->begin(), now->end());
  return variable_of{is_one_left ? verdict::unknown : verdict::gone};
}

/// Looks a variable up in what a process was started with.
/// @returns `overloaded` if there is no descriptor, or no memory.
expected<variable_of> look_up(std::int64_t pid, std::string_view name) {
  auto text = read_environment(fmt::format("/proc/{}/environ", pid));
  if (!text)
    return tl::unexpected<failure>{text.error()};
  if (!text->all.empty())
    return look_up(text->all, name);
  auto stat = stat_of(pid);
  // While the first thread is replaced by the one that begins another program,
  // it looks for a moment as if all had ended.
  if (stat && *stat && (*stat)->is_over())
    stat = stat_of(pid);
  if (!stat)
    return tl::unexpected<failure>{stat.error()};
  if (!*stat || (*stat)->is_over())
    return variable_of{verdict::gone};
  auto& x = **stat;
  if (x.is_of_kernel)
    return variable_of{verdict::no};
  // It may have begun its program since, or nobody may look.
  if (x.code_begin != 0)
    return variable_of{text->is_hidden
                           || x.environment_begin == x.environment_end
                         ? verdict::no
                         : verdict::unknown};
  return look_at_threads(pid, name);
}

/// Looks at one process.
/// @returns what became of it; if it was found, it is in `out`.
expected<verdict> look_at(std::int64_t pid, std::string_view name,
                          carriers& out) {
  auto seen = look_up(pid, name);
  if (!seen)
    return tl::unexpected<failure>{seen.error()};
  if (seen->has == verdict::no || seen->has == verdict::gone)
    return seen->has;
  auto who = find_process(pid);
  if (who && !*who)
    who = find_process(pid);
  if (!who)
    return tl::unexpected<failure>{who.error()};
  if (!*who)
    return verdict::gone;
  // It may have ended since, and another one may have its pid.
  auto again = look_up(pid, name);
  if (!again)
    return tl::unexpected<failure>{again.error()};
  if (seen->has == verdict::yes && *again == *seen) {
    out.by_value[seen->value].push_back(std::move(**who));
    return verdict::yes;
  }
  if (again->has == verdict::no || again->has == verdict::gone)
    return again->has;
  out.unknown.push_back(std::move(**who));
  return verdict::unknown;
}

} // namespace

// -- all processes ------------------------------------------------------------

carriers find_by_variable(std::string_view name) {
  carriers out;
  std::set<std::int64_t> known;
  for (int looks = 1;; ++looks) {
    out.unknown.clear();
    auto pids = numbers_in("/proc");
    if (!pids) {
      out.unsure = pids.error();
      return out;
    }
    std::erase_if(*pids, [&](auto pid) { return known.contains(pid); });
    // What ends may have started another one that is not in the list.
    auto has_lost_one = false;
    for (auto pid : *pids) {
      auto found = look_at(pid, name, out);
      if (!found) {
        out.unsure = found.error();
        return out;
      }
      has_lost_one = has_lost_one || *found == verdict::gone;
      if (*found != verdict::unknown)
        known.insert(pid);
    }
    // Nor is the list made in one moment.
    if (looks > 1 && !has_lost_one && out.unknown.empty())
      return out;
    if (looks == max_looks) {
      if (has_lost_one)
        out.unsure = failure{errc::overloaded, "processes come and go faster "
                                               "than they can be looked at"};
      return out;
    }
    if (!out.unknown.empty())
      std::this_thread::yield();
  }
}

std::optional<bool> was_started_with(std::int32_t pid, std::string_view name,
                                     std::string_view value) {
  for (int looks = 1; looks <= max_looks; ++looks) {
    auto seen = look_up(pid, name);
    if (!seen)
      return std::nullopt;
    if (seen->has != verdict::unknown)
      return *seen == variable_of{verdict::yes, std::string{value}};
    std::this_thread::yield();
  }
  return std::nullopt;
}

} // namespace muster
