// SPDX-License-Identifier: Apache-2.0

#include "actors/process/process_identity.hpp"

#include "actors/process/descriptor.hpp"
#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace muster {

namespace {

/// The kernel's own limit, whatever `kernel.pid_max` says.
constexpr std::int64_t max_pid = 4'194'304;

/// The fields of `/proc/<pid>/stat` behind the name, which is the second one.
constexpr std::size_t state_field = 0;
constexpr std::size_t flags_field = 6;
constexpr std::size_t user_time_field = 11;
constexpr std::size_t system_time_field = 12;
constexpr std::size_t threads_field = 17;
constexpr std::size_t start_field = 19;
constexpr std::size_t memory_field = 21;
constexpr std::size_t code_begin_field = 23;
constexpr std::size_t environment_begin_field = 47;
constexpr std::size_t environment_end_field = 48;

/// Among the flags, as the kernel's `PF_EXITING` and `PF_KTHREAD`.
constexpr std::uint64_t exiting_flag = 0x4;
constexpr std::uint64_t kernel_thread_flag = 0x200'000;

/// What the kernel counts in, whatever the machine.
constexpr std::uint64_t ms_per_tick = 10;

/// Reads a small file of the kernel; absent if it, or its process, is gone.
expected<std::optional<std::string>> read_small(const std::string& path) {
  descriptor file{
    uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); })};
  // Such a file is read at once or not at all.
  std::array<char, 4'096> bytes;
  auto size = file ? uninterrupted(
                [&] { return ::read(file.get(), bytes.data(), bytes.size()); })
                   : -1;
  if (size >= 0)
    return std::string{bytes.data(), static_cast<std::size_t>(size)};
  if (errno == ENOENT || errno == ESRCH)
    return std::nullopt;
  auto code = errno == EMFILE || errno == ENFILE || errno == ENOMEM
                ? errc::overloaded
                : errc::internal;
  return fail(code,
              fmt::format("cannot read '{}': {}", path, std::strerror(errno)));
}

template <class T>
bool read_number(std::string_view text, T& to) {
  auto [end, error]
    = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc{} && end == text.data() + text.size();
}

/// Reads such a file; absent if there is none.
expected<std::optional<process_stat>> read_stat(const std::string& path) {
  auto text = read_small(path);
  if (!text)
    return tl::unexpected<failure>{text.error()};
  if (!*text)
    return std::nullopt;
  auto out = parse_stat(**text);
  if (!out)
    return fail(errc::internal, fmt::format("cannot understand '{}'", path));
  return out;
}

expected<std::string> boot_id() {
  auto text = read_small("/proc/sys/kernel/random/boot_id");
  if (!text)
    return tl::unexpected<failure>{text.error()};
  if (!*text)
    return fail(errc::internal, "the kernel does not say which boot this is");
  return (*text)->substr(0, (*text)->find('\n'));
}

} // namespace

expected<std::int32_t> check_pid(std::int64_t pid) {
  if (pid <= 0 || pid > max_pid)
    return fail(
      errc::invalid_argument,
      fmt::format("{} is no pid: it must be from 1 to {}", pid, max_pid));
  return static_cast<std::int32_t>(pid);
}

std::optional<process_stat> parse_stat(std::string_view text) {
  // A name may contain whatever follows it, but nothing behind it contains a
  // parenthesis.
  auto open = text.find(" (");
  auto close = text.rfind(") ");
  if (open == std::string_view::npos || close == std::string_view::npos
      || close < open + 2)
    return std::nullopt;
  process_stat out;
  out.name = text.substr(open + 2, close - open - 2);
  std::array<std::string_view, environment_end_field + 1> fields;
  auto rest = text.substr(close + 2);
  for (auto& field : fields) {
    auto end = rest.find_first_of(" \n");
    if (end == std::string_view::npos)
      return std::nullopt;
    field = rest.substr(0, end);
    rest.remove_prefix(end + 1);
  }
  if (fields[state_field].size() != 1
      || !read_number(text.substr(0, open), out.pid)
      || !read_number(fields[threads_field], out.threads)
      || !read_number(fields[start_field], out.start_ticks)
      || !read_number(fields[memory_field], out.memory_pages))
    return std::nullopt;
  std::uint64_t flags = 0;
  std::uint64_t user_time = 0;
  std::uint64_t system_time = 0;
  if (!read_number(fields[flags_field], flags)
      || !read_number(fields[code_begin_field], out.code_begin)
      || !read_number(fields[environment_begin_field], out.environment_begin)
      || !read_number(fields[environment_end_field], out.environment_end)
      || !read_number(fields[user_time_field], user_time)
      || !read_number(fields[system_time_field], system_time))
    return std::nullopt;
  out.is_of_kernel = (flags & kernel_thread_flag) != 0;
  out.is_exiting = (flags & exiting_flag) != 0;
  out.cpu_ticks = user_time + system_time;
  out.state = fields[state_field].front();
  return out;
}

expected<std::optional<process_stat>> stat_of(std::int64_t pid) {
  if (auto fine = check_pid(pid); !fine)
    return tl::unexpected<failure>{fine.error()};
  return read_stat(fmt::format("/proc/{}/stat", pid));
}

expected<std::optional<process_stat>> stat_of_thread(std::int64_t pid,
                                                     std::int64_t thread) {
  for (auto number : {pid, thread})
    if (auto fine = check_pid(number); !fine)
      return tl::unexpected<failure>{fine.error()};
  return read_stat(fmt::format("/proc/{}/task/{}/stat", pid, thread));
}

expected<process_identity> identify(std::int64_t pid) {
  auto stat = stat_of(pid);
  if (!stat)
    return tl::unexpected<failure>{stat.error()};
  if (!*stat)
    return fail(errc::not_found, fmt::format("there is no process {}", pid));
  auto boot = boot_id();
  if (!boot)
    return tl::unexpected<failure>{boot.error()};
  return process_identity{static_cast<std::int32_t>(pid), (*stat)->start_ticks,
                          std::move(*boot)};
}

expected<std::optional<process_identity>> find_process(std::int64_t pid) {
  auto stat = stat_of(pid);
  if (!stat)
    return tl::unexpected<failure>{stat.error()};
  if (!*stat || (*stat)->is_over())
    return std::nullopt;
  auto boot = boot_id();
  if (!boot)
    return tl::unexpected<failure>{boot.error()};
  return process_identity{static_cast<std::int32_t>(pid), (*stat)->start_ticks,
                          std::move(*boot)};
}

std::optional<process_usage> usage_of(const process_identity& who) {
  auto stat = stat_of(who.pid);
  if (!stat || !*stat || (*stat)->start_ticks != who.start_ticks)
    return std::nullopt;
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return process_usage{(*stat)->memory_pages * page,
                       (*stat)->cpu_ticks * ms_per_tick};
}

expected<bool> is_alive(const process_identity& who) {
  auto boot = boot_id();
  if (!boot)
    return tl::unexpected<failure>{boot.error()};
  auto stat = stat_of(who.pid);
  if (!stat)
    return tl::unexpected<failure>{stat.error()};
  return *boot == who.boot_id && *stat
         && (*stat)->start_ticks == who.start_ticks && !(*stat)->is_over();
}

std::string show(const process_identity& who) {
  return fmt::format("process {}", who.pid);
}

json to_json(const process_identity& who) {
  return {{"pid", who.pid},
          {"start_ticks", who.start_ticks},
          {"boot_id", who.boot_id}};
}

expected<process_identity> process_identity_from(const json& value) {
  auto field = [&](const char* name) {
    return value.is_object() && value.contains(name) ? value[name] : json{};
  };
  auto wrong = [](const char* name) {
    return fail(
      errc::invalid_argument,
      fmt::format("the identity of a process has no proper '{}'", name));
  };
  auto pid = field("pid");
  auto start = field("start_ticks");
  auto boot = field("boot_id");
  // A number above the range of signed ones would wrap around.
  if (!pid.is_number_integer()
      || (pid.is_number_unsigned() && pid.get<std::uint64_t>() > INT64_MAX))
    return wrong("pid");
  if (!start.is_number_unsigned())
    return wrong("start_ticks");
  if (!boot.is_string() || boot.get_ref<const std::string&>().empty())
    return wrong("boot_id");
  auto checked = check_pid(pid.get<std::int64_t>());
  if (!checked)
    return tl::unexpected<failure>{checked.error()};
  return process_identity{*checked, start.get<std::uint64_t>(),
                          boot.get<std::string>()};
}

} // namespace muster
