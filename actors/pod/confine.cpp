// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/confine.hpp"

#include "actors/pod/privileges.hpp"
#include "actors/pod/program.hpp"
#include "actors/process/readiness.hpp"
#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace muster {

namespace {

constexpr int cannot_execute = 126;

constexpr int no_such_program = 127;

/// What reading means: programs can be started from there, too.
constexpr std::uint64_t reading = path_rights::read | path_rights::execute;

/// What writing means; devices are nobody's to make.
constexpr std::uint64_t writing
  = reading | (path_rights::write & ~path_rights::make_devices);

tl::unexpected<failure> cannot_confine(const std::string& what, int error) {
  auto is_gone = error == ENOENT || error == ENOTDIR;
  return fail(is_gone ? errc::not_found : errc::not_allowed,
              fmt::format("cannot confine the process: '{}': {}", what,
                          std::strerror(error)));
}

struct close_folder {
  void operator()(DIR* folder) const {
    ::closedir(folder);
  }
};

// -- rules --------------------------------------------------------------------

expected<void> add_rules(std::vector<path_rule>& out, const scope_rule& x,
                         const folder_reader& read) {
  auto rights = x.level == permission::write ? writing : reading;
  if (x.recursive) {
    out.push_back({x.target, rights, path_kind::exact});
    return {};
  }
  auto names = read(x.target);
  if (!names)
    return tl::unexpected<failure>{names.error()};
  if (!*names) {
    out.push_back({x.target, rights, path_kind::exact});
    return {};
  }
  // Without a right, the target is looked at and nothing else.
  out.push_back({x.target, 0, path_kind::exact});
  for (auto& name : **names)
    out.push_back(
      {fmt::format("{}/{}", x.target, name), rights, path_kind::exact_file});
  return {};
}

// -- the process --------------------------------------------------------------

/// Whoever started this process and waits for it, if anybody does.
class awaiting {
public:
  awaiting() {
    struct stat info {};
    is_there_ = ::fstat(ready_descriptor, &info) == 0 && S_ISFIFO(info.st_mode);
    if (is_there_)
      ::fcntl(ready_descriptor, F_SETFD, FD_CLOEXEC);
  }

  [[nodiscard]] bool is_there() const {
    return is_there_;
  }

  void tell(std::string line) const {
    line += '\n';
    if (is_there_)
      std::ignore = uninterrupted(
        [&] { return ::write(ready_descriptor, line.data(), line.size()); });
  }

private:
  bool is_there_ = false;
};

int exit_code_of(const failure& why) {
  return describe(why.code).exit_code;
}

start_failure not_confined(failure why) {
  auto code = exit_code_of(why);
  return {std::move(why), code};
}

start_failure not_started(failure why) {
  auto code = why.code == errc::not_found ? no_such_program : cannot_execute;
  return {std::move(why), code};
}

/// Does all but the exec.
/// @returns the version of Landlock that is in force.
expected<int> confine_process(const confine_order& order,
                              const std::string& program,
                              const awaiting& starter) {
  if (order.sandbox == sandbox_mode::off)
    return 0;
  if (auto fine = check_sandbox(order.sandbox, landlock_version()); !fine)
    return tl::unexpected<failure>{fine.error()};
  auto programs = interpreters_of(program);
  programs.insert(programs.begin(), program);
  auto rules = plan_confinement(order, programs, read_folder);
  if (!rules)
    return tl::unexpected<failure>{rules.error()};
  ::umask(077);
  ::closefrom(starter.is_there() ? ready_descriptor + 1 : ready_descriptor);
  if (auto fine = give_up_powers(); !fine)
    return tl::unexpected<failure>{fine.error()};
  return restrict_thread(*rules);
}

/// Becomes the program.
/// @returns why it could not.
failure become(const std::string& program, std::vector<std::string> words) {
  std::vector<char*> pointers;
  for (auto& word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv(program.c_str(), pointers.data());
  auto error = errno;
  // It was there a moment ago.
  const auto* what = error == ENOENT ? "what is to interpret it: " : "";
  return {errc::not_allowed, fmt::format("cannot start '{}': {}{}", program,
                                         what, std::strerror(error))};
}

start_failure start(const confine_order& order, const awaiting& starter) {
  if (!order.working_folder.empty()
      && ::chdir(order.working_folder.c_str()) != 0)
    return not_confined(cannot_confine(order.working_folder, errno).value());
  const auto* search_path = std::getenv("PATH");
  auto program
    = find_program(order.words.front(),
                   search_path != nullptr ? search_path : default_search_path);
  if (!program)
    return not_started(program.error());
  auto version = confine_process(order, *program, starter);
  if (!version)
    return not_confined(version.error());
  auto line = *version > 0 ? fmt::format("confined landlock {}", *version)
                           : std::string{"not confined"};
  if (!starter.is_there() && order.sandbox == sandbox_mode::best_effort)
    fmt::print(stderr, "muster: {}\n", line);
  starter.tell(std::move(line));
  return not_started(become(*program, order.words));
}

} // namespace

// -- reading ------------------------------------------------------------------

expected<std::optional<std::vector<std::string>>>
read_folder(const std::string& path) {
  std::unique_ptr<DIR, close_folder> folder{::opendir(path.c_str())};
  if (!folder && errno == ENOTDIR)
    return std::nullopt;
  if (!folder)
    return cannot_confine(path, errno);
  std::vector<std::string> out;
  errno = 0;
  while (const auto* entry = ::readdir(folder.get())) {
    std::string name{entry->d_name};
    if (name == "." || name == "..")
      continue;
    if (out.size() == max_direct_children)
      return fail(errc::too_large,
                  fmt::format("'{}' holds more than {} files, which is the "
                              "limit for a rule of one level",
                              path, max_direct_children));
    out.push_back(std::move(name));
    errno = 0;
  }
  if (errno != 0)
    return cannot_confine(path, errno);
  return out;
}

// -- what is left to a pod ----------------------------------------------------

expected<void> check_sandbox(sandbox_mode level, int version) {
  if (level != sandbox_mode::required || version >= least_landlock_version)
    return {};
  auto missing
    = version == 0
        ? std::string{"the kernel has no Landlock, or it is switched off"}
        : fmt::format(
          "the kernel has version {} of Landlock, and version {} is "
          "the first one that protects files from being emptied",
          version, least_landlock_version);
  return fail(errc::not_allowed,
              fmt::format("cannot confine the process: {}", missing));
}

const std::vector<path_rule>& base_rules() {
  using namespace path_rights;
  static const std::vector<path_rule> rules = [] {
    std::vector<path_rule> out;
    // Programs and libraries; where all of it is in /usr, the others are links.
    for (auto* path :
         {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"})
      out.push_back({path, reading, path_kind::any_if_there});
    for (auto* path : {// The loader.
                       "/etc/ld.so.cache", "/etc/ld.so.preload",
                       // Names of users and groups, but no passwords.
                       "/etc/nsswitch.conf", "/etc/passwd", "/etc/group",
                       // Names of machines and services.
                       "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf",
                       "/etc/gai.conf", "/etc/services", "/etc/protocols",
                       // The time zone.
                       "/etc/localtime", "/etc/timezone",
                       // Whom TLS trusts, but no private keys.
                       "/etc/ssl/openssl.cnf", "/etc/ssl/certs",
                       "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted",
                       // Endless bytes.
                       "/dev/zero", "/dev/urandom", "/dev/random"})
      out.push_back({path, read, path_kind::any_if_there});
    out.push_back({"/dev/null", read_file | write_file, path_kind::any});
    return out;
  }();
  return rules;
}

expected<landlock_order>
plan_confinement(const confine_order& order,
                 const std::vector<std::string>& programs,
                 const folder_reader& read) {
  if (order.scope.size() > max_confined_rules)
    return fail(errc::too_large,
                fmt::format("a scope has at most {} rules, and this one has {}",
                            max_confined_rules, order.scope.size()));
  landlock_order out;
  // Agents ask language models.
  out.allows_network = true;
  out.paths = base_rules();
  if (!order.is_within_scope)
    for (auto& program : programs)
      out.paths.push_back({program,
                           path_rights::read_file | path_rights::execute,
                           path_kind::program});
  for (auto& x : order.scope)
    if (auto fine = add_rules(out.paths, x, read); !fine)
      return tl::unexpected<failure>{fine.error()};
  if (!order.own_folder.empty())
    out.paths.push_back({order.own_folder, writing, path_kind::exact});
  return out;
}

start_failure confine(const confine_order& order) {
  awaiting starter;
  auto out = start(order, starter);
  starter.tell(show_exec_error(out.why));
  return out;
}

} // namespace muster
