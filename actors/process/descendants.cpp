// SPDX-License-Identifier: Apache-2.0

#include "actors/process/descendants.hpp"

#include "actors/process/descriptor.hpp"
#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>
#include <thread>

#include <fcntl.h>

namespace muster {

namespace {

/// How often processes are looked at that are within `execve`, and how long
/// after one another. It takes microseconds, unless the disk is slow.
constexpr int max_looks = 50;
constexpr auto look_again = std::chrono::milliseconds(2);

/// More than the environment of most processes.
constexpr std::size_t max_read_bytes = 64 * 1'024;

enum class verdict { yes, no, unknown };

/// What a process was started with, as far as it can be told.
struct variable_of {
  verdict has = verdict::no;
  std::string value;

  friend bool operator==(const variable_of&, const variable_of&) = default;
};

/// Looks a variable up in `NAME=VALUE`, each followed by a zero byte.
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

/// Looks a variable up in what a process was started with. That is not known
/// within `execve`, when the kernel has taken the old memory and not set up the
/// new; nor if the old memory went while it was read.
/// @returns `overloaded` if there is no descriptor, or no memory.
expected<variable_of> look_up(std::int64_t pid, std::string_view name) {
  auto path = fmt::format("/proc/{}/environ", pid);
  descriptor file{
    uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); })};
  std::string all;
  std::string bytes(max_read_bytes, '\0');
  ssize_t size = -1;
  while (file
         && (size = uninterrupted(
               [&] { return ::read(file.get(), bytes.data(), bytes.size()); }))
              > 0) {
    all.append(bytes, 0, static_cast<std::size_t>(size));
  }
  if (size < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
    return fail(errc::overloaded, fmt::format("cannot read '{}': {}", path,
                                              std::strerror(errno)));
  // It is gone, or has no memory, or nobody may look.
  if (!file)
    return variable_of{};
  auto out = look_up(all, name);
  // One piece is read from one memory.
  auto is_one_piece = size == 0 && !all.empty() && all.size() < max_read_bytes;
  if (out.has == verdict::yes || is_one_piece)
    return out;
  auto stat = stat_of(pid);
  if (!stat)
    return tl::unexpected<failure>{stat.error()};
  if (!*stat || (*stat)->is_over())
    return out;
  auto is_whole
    = !(*stat)->is_within_exec()
      && all.size() == (*stat)->environment_end - (*stat)->environment_begin;
  return is_whole ? out : variable_of{verdict::unknown, {}};
}

/// All processes there are.
expected<std::vector<std::int64_t>> all_pids() {
  std::vector<std::int64_t> out;
  std::error_code code;
  std::filesystem::directory_iterator i{"/proc", code};
  for (; !code && i != std::filesystem::directory_iterator{};
       i.increment(code)) {
    auto text = i->path().filename().string();
    std::int64_t pid = 0;
    auto [end, wrong]
      = std::from_chars(text.data(), text.data() + text.size(), pid);
    if (wrong == std::errc{} && end == text.data() + text.size())
      out.push_back(pid);
  }
  if (code)
    return fail(errc::overloaded,
                fmt::format("'/proc' cannot be read: {}", code.message()));
  return out;
}

/// Looks at one process.
/// @returns whether all is known of it.
expected<bool> look_at(std::int64_t pid, std::string_view name, carriers& out) {
  auto seen = look_up(pid, name);
  if (!seen)
    return tl::unexpected<failure>{seen.error()};
  if (seen->has != verdict::yes)
    return seen->has == verdict::no;
  auto who = find_process(pid);
  if (!who)
    return tl::unexpected<failure>{who.error()};
  // It may have ended since, and another one may have its pid.
  auto again = look_up(pid, name);
  if (!again)
    return tl::unexpected<failure>{again.error()};
  if (*who && *again == *seen)
    out.by_value[seen->value].push_back(**who);
  return again->has != verdict::unknown;
}

} // namespace

carriers find_by_variable(std::string_view name) {
  carriers out;
  std::set<std::int64_t> known;
  for (int looks = 0; looks < max_looks; ++looks) {
    auto pids = all_pids();
    if (!pids) {
      out.unsure = pids.error();
      return out;
    }
    out.unsure.reset();
    std::erase_if(*pids, [&](auto pid) { return known.contains(pid); });
    if (pids->empty())
      return out;
    for (auto pid : *pids) {
      auto is_known = look_at(pid, name, out);
      if (!is_known) {
        out.unsure = is_known.error();
        return out;
      }
      if (*is_known)
        known.insert(pid);
      else
        out.unsure = failure{
          errc::overloaded,
          fmt::format("process {} does not come to the end of execve", pid)};
    }
    if (out.unsure)
      std::this_thread::sleep_for(look_again);
    else
      out.unsure = failure{errc::overloaded, "processes start faster than they "
                                             "can be looked at"};
  }
  return out;
}

bool was_started_with(std::int32_t pid, std::string_view name,
                      std::string_view value) {
  for (int looks = 1;; ++looks) {
    auto seen = look_up(pid, name);
    if (!seen || seen->has != verdict::unknown || looks == max_looks)
      return seen && *seen == variable_of{verdict::yes, std::string{value}};
    std::this_thread::sleep_for(look_again);
  }
}

} // namespace muster
