// SPDX-License-Identifier: Apache-2.0

// Real programs behind `muster confine`, and every way out of their scope that
// we know. Each is tried without the sandbox as well: one that does not work
// even there proves nothing.

#define CAF_SUITE black_box.confine

#include "tests/black_box/program.hpp"
#include "tests/support/suite.hpp"

#include "actors/process/descriptor.hpp"
#include "actors/process/landlock.hpp"
#include "actors/process/system_processes.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace fs = std::filesystem;

namespace {

constexpr auto patience = 60s;

using words = std::vector<std::string>;

words operator+(words x, const words& y) {
  x.insert(x.end(), y.begin(), y.end());
  return x;
}

std::string read_file(const std::string& path) {
  std::ifstream in{path};
  return {std::istreambuf_iterator<char>{in}, {}};
}

program_result run(const words& all, program_options options = {}) {
  process program{all, options};
  auto result = program.wait(patience);
  if (!result)
    throw std::runtime_error{"the program does not end"};
  return *result;
}

/// A folder that is lent, and one beside it that is not.
struct place {
  place() {
    for (auto* name : {"/in", "/in/sub", "/in/empty", "/out", "/out/sub",
                       "/out/empty", "/own", "/elsewhere"})
      fs::create_directory(path() + name);
    for (auto* name : {"/in/a", "/in/sub/a", "/in/z"})
      std::ofstream{path() + name} << "inside";
    for (auto* name : {"/out/a", "/out/sub/a"})
      std::ofstream{path() + name} << "secret";
    fs::create_symlink("../out/a", path() + "/in/to-file");
    fs::create_symlink(path() + "/out", path() + "/in/to-folder");
  }

  [[nodiscard]] const std::string& path() const {
    return folder.path();
  }

  /// Puts the path in for `@`.
  [[nodiscard]] words with_path(words all) const {
    for (auto& word : all)
      for (auto at = word.find("@/"); at != std::string::npos;
           at = word.find("@/"))
        word.replace(at, 1, path());
    return all;
  }

  /// All that there is outside, and what it holds.
  [[nodiscard]] std::vector<std::string> outside() const {
    std::vector<std::string> out;
    for (auto* name : {"/out", "/elsewhere"})
      for (auto& x : fs::recursive_directory_iterator{path() + name})
        out.push_back(
          fmt::format("{} {}", x.path().string(),
                      x.is_regular_file() ? read_file(x.path()) : ""));
    std::sort(out.begin(), out.end());
    return out;
  }

  temporary_folder folder;
};

words confined(const std::string& level, const words& rules,
               const words& program) {
  words out{MUSTER_PROGRAM, "confine", "--sandbox", level};
  for (auto& rule : rules)
    out = out + words{"--allow", rule};
  return out + words{"--"} + program;
}

const words writes{"w:@/in"};

/// What the probe says about one thing that it does, in a place of its own.
struct attempt {
  words action;
  words rules = writes;
  /// What stands before the program, such as a shell.
  words runner = {};

  std::string under(const std::string& level) const {
    place here;
    auto before = here.outside();
    auto all
      = runner + confined(level, rules, words{MUSTER_CONFINE_PROBE} + action);
    program_options options;
    options.folder = here.path() + "/in";
    auto result = run(here.with_path(all), options);
    if (level == "required")
      CAF_CHECK_EQUAL(here.outside(), before);
    auto said = result.out.substr(0, result.out.find('\n'));
    return said.empty() ? result.err : said;
  }

  /// Works, but not in the sandbox.
  void must_fail() const {
    CAF_MESSAGE(fmt::format("{}", fmt::join(action, " ")));
    CAF_CHECK_EQUAL(under("off"), "ok");
    auto said = under("required");
    auto is_refused = said == "EACCES" || said == "EPERM" || said == "EXDEV";
    if (!is_refused)
      CAF_MESSAGE("said " << said);
    CAF_CHECK(is_refused);
  }

  /// Works in the sandbox, too.
  void must_work() const {
    CAF_MESSAGE(fmt::format("{}", fmt::join(action, " ")));
    for (auto* level : {"off", "required"})
      CAF_CHECK_EQUAL(under(level), "ok");
  }
};

/// Runs the rest with mounts of its own, which end with it.
const words own_mounts{"/usr/bin/unshare", "--mount", "--propagation",
                       "private"};

/// Runs the rest as a child of a shell that stands outside.
const words from_outside{"/bin/sh", "-c",
                         "(cd ../out && exec sleep 60) & cd ../out; \"$@\"; "
                         "r=$?; kill $!; exit $r",
                         "sh"};

/// A shell that keeps its pipe to the test as the descriptor of readiness.
words awaited(const words& program) {
  return words{"/bin/sh", "-c", "\"$@\" 3>&1", "sh"} + program;
}

words shell(const std::string& script) {
  return {"/bin/sh", "-c", script};
}

program_result run_at(const place& here, const words& all) {
  program_options options;
  options.folder = here.path() + "/in";
  return run(here.with_path(all), options);
}

} // namespace

// -- escapes ------------------------------------------------------------------

CAF_TEST(nothing outside can be read or listed) {
  for (auto& action : std::vector<words>{
         {"read", "@/out/a"},
         {"read", "../out/a"},
         {"read", "sub/../../out/sub/a"},
         {"read", "to-file"},
         {"read", "to-folder/sub/a"},
         {"read", "/etc/shadow"},
         {"list", "@/out"},
         {"list", "to-folder"},
         {"list", ".."},
         {"list", "/"},
         {"list", "/etc"},
         {"read", "/proc/self/root@/out/a"},
         {"read", "/proc/self/cwd/../out/a"},
         {"read", "/proc/self/status"},
       })
    attempt{action}.must_fail();
}

CAF_TEST(nothing outside can be written or emptied) {
  for (auto& action : std::vector<words>{
         {"write", "@/out/a"},
         {"write", "../out/a"},
         {"write", "to-file"},
         {"empty", "@/out/a"},
         {"empty", "to-file"},
         {"open-empty", "@/out/a"},
         {"open-empty", "to-folder/a"},
       })
    attempt{action}.must_fail();
}

CAF_TEST(nothing outside can be made or removed) {
  for (auto& action : std::vector<words>{
         {"create", "@/out/new"},
         {"create", "to-folder/new"},
         {"mkdir", "../out/new"},
         {"mkfifo", "@/out/new"},
         {"symlink", "a", "@/out/new"},
         {"unlink", "@/out/a"},
         {"unlink", "to-folder/sub/a"},
         {"rmdir", "@/out/empty"},
         // The folder that is lent belongs to the one above it.
         {"rename", "@/in", "@/in2"},
         {"create", "@/new"},
       })
    attempt{action}.must_fail();
}

CAF_TEST(nothing moves over the border) {
  for (auto& action : std::vector<words>{
         {"link", "@/out/a", "hard"},
         {"link", "a", "@/out/hard"},
         {"rename", "@/out/a", "moved"},
         {"rename", "a", "@/out/moved"},
         {"rename", "a", "to-folder/moved"},
         {"rename", "@/out/sub", "moved"},
         {"rename", "sub", "@/out/moved"},
         {"exchange", "a", "@/out/a"},
         {"exchange", "@/out/sub", "sub"},
       })
    attempt{action}.must_fail();
}

CAF_TEST(no mount leads out) {
  attempt{{"bind-and-read", "@/out", "@/in/empty", "a"}, writes, own_mounts}
    .must_fail();
  // One that somebody else made, outside.
  auto mounted = own_mounts
                 + words{"/bin/sh", "-c",
                         "mount --bind ../out ../elsewhere && \"$@\"", "sh"};
  attempt{{"read", "@/elsewhere/a"}, writes, mounted}.must_fail();
  attempt{{"chroot-and-read", "@/out", "/a"}}.must_fail();
}

CAF_TEST(no process leads out) {
  attempt{{"read", "/proc/@parent/cwd/a"}, writes, from_outside}.must_fail();
  attempt{{"read", "/proc/@parent/root/etc/shadow"}, writes, from_outside}
    .must_fail();
  // Also where all of it can be read.
  words with_proc{"w:@/in", "r:/proc"};
  for (auto* path : {"/proc/@parent/cwd/a", "/proc/@parent/environ",
                     "/proc/@parent/root/etc/shadow"})
    attempt{{"read", path}, with_proc, from_outside}.must_fail();
  attempt{{"read", "/proc/self/root@/out/a"}, with_proc}.must_fail();
  attempt{{"trace", "@parent"}, writes, from_outside}.must_fail();
  attempt{{"signal", "@parent"}, writes, from_outside}.must_fail();
}

CAF_TEST(a link that changes while it is opened does not lead out) {
  attempt{{"race", "@/in/racing", "@/in/a", "@/out/a"}}.must_fail();
}

CAF_TEST(a file is not opened by its handle) {
  attempt{{"read-by-handle", "@/out/a", "@/in"}}.must_fail();
}

CAF_TEST(nobody makes a device) {
  attempt{{"mknod", "device"}}.must_fail();
}

CAF_TEST(no abstract socket outside can be reached) {
  auto name = fmt::format("muster-confine-{}", ::getpid());
  descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  auto size
    = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  CAF_REQUIRE_EQUAL(
    ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  CAF_REQUIRE_EQUAL(::listen(socket.get(), 8), 0);
  attempt{{"connect-abstract", name}}.must_fail();
}

// -- what works ---------------------------------------------------------------

CAF_TEST(all of it works inside) {
  for (auto& action : std::vector<words>{
         {"read", "@/in/a"},
         {"read", "../in/sub/a"},
         {"list", "."},
         {"list", "@/in/sub"},
         {"write", "sub/a"},
         {"empty", "a"},
         {"open-empty", "sub/a"},
         {"create", "sub/new"},
         {"unlink", "sub/a"},
         {"mkdir", "sub/new"},
         {"rmdir", "empty"},
         {"mkfifo", "new"},
         {"symlink", "a", "sub/new"},
         {"link", "a", "sub/hard"},
         {"rename", "a", "sub/moved"},
         {"rename", "sub", "empty/moved"},
         {"exchange", "a", "sub/a"},
         {"exec", "/bin/true"},
         {"read", "/etc/passwd"},
         {"read", "/dev/zero"},
         {"write", "/dev/null"},
       })
    if (action[0] != "exec")
      attempt{action}.must_work();
  for (auto* level : {"off", "required"}) {
    place here;
    auto script = "set -e; echo x > new; mkdir d; mv new d/; cp d/new e; "
                  "ln e f; rm e; cat f sub/a > /dev/null; ls . d; "
                  "sed -i s/x/y/ f; cat f";
    auto result = run_at(here, confined(level, writes, shell(script)));
    CAF_CHECK_EQUAL(result.err, "");
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK(result.out.ends_with("y\n"));
  }
}

CAF_TEST(what may be read is not changed) {
  words reads{"r:@/in"};
  for (auto& action : std::vector<words>{
         {"write", "a"},
         {"empty", "a"},
         {"create", "new"},
         {"unlink", "a"},
         {"mkdir", "new"},
         {"rmdir", "empty"},
         {"rename", "a", "sub/moved"},
         {"link", "a", "sub/hard"},
         {"symlink", "a", "new"},
       })
    attempt{action, reads}.must_fail();
  for (auto& action : std::vector<words>{{"read", "sub/a"}, {"list", "sub"}})
    attempt{action, reads}.must_work();
}

CAF_TEST(the folder of the pod itself is its own) {
  place here;
  auto all = confined("required", {"r:@/in"},
                      shell("echo x > ../own/log && cat ../own/log"));
  all.insert(all.begin() + 2, {"--own", "@/own"});
  CAF_CHECK_EQUAL(run_at(here, all).out, "x\n");
}

CAF_TEST(the network is open) {
  descriptor socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  CAF_REQUIRE_EQUAL(::bind(socket.get(), any, size), 0);
  CAF_REQUIRE_EQUAL(::listen(socket.get(), 8), 0);
  CAF_REQUIRE_EQUAL(::getsockname(socket.get(), any, &size), 0);
  attempt{{"connect-tcp", std::to_string(ntohs(address.sin_port))}}.must_work();
}

CAF_TEST(the limits are those that the page names) {
  // The names of files, what they are, and their modes.
  attempt{{"stat", "@/out/a"}}.must_work();
  attempt{{"chmod", "@/out/a"}}.must_work();
  // Sockets that have a name in the file system.
  place here;
  descriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  auto path = here.path() + "/out/socket";
  std::memcpy(address.sun_path, path.data(), path.size());
  CAF_REQUIRE_EQUAL(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address),
                           sizeof(address)),
                    0);
  CAF_REQUIRE_EQUAL(::listen(socket.get(), 8), 0);
  attempt{{"connect-named", path}}.must_work();
  // What was mounted in the scope, and links that were there before.
  auto mounted
    = own_mounts
      + words{"/bin/sh", "-c", "mount --bind ../out empty && \"$@\"", "sh"};
  attempt{{"read", "@/in/empty/a"}, writes, mounted}.must_work();
  words linked{"/bin/sh", "-c", "ln ../out/a hard && \"$@\"", "sh"};
  place other;
  auto all = linked
             + confined("required", writes,
                        words{MUSTER_CONFINE_PROBE, "read", "hard"});
  CAF_CHECK_EQUAL(run_at(other, all).out, "ok\n");
}

// -- rules of one level -------------------------------------------------------

CAF_TEST(a rule of one level is never wider) {
  words level{"w1:@/in"};
  for (auto& action : std::vector<words>{
         {"read", "a"}, {"write", "a"}, {"empty", "z"}, {"open-empty", "a"}})
    attempt{action, level}.must_work();
  for (auto& action : std::vector<words>{
         {"read", "sub/a"},
         {"write", "sub/a"},
         {"list", "sub"},
         {"create", "sub/new"},
         {"read", "to-file"},
         {"read", "to-folder/a"},
         // What the kernel cannot give without giving it below as well.
         {"list", "."},
         {"create", "new"},
         {"unlink", "a"},
         {"rename", "a", "b"},
         {"rename", "a", "sub/a"},
       })
    attempt{action, level}.must_fail();
  words reads{"r1:@/in"};
  attempt{{"read", "a"}, reads}.must_work();
  attempt{{"write", "a"}, reads}.must_fail();
  attempt{{"read", "sub/a"}, reads}.must_fail();
  // Of a file.
  words file{"w1:@/in/a"};
  attempt{{"write", "a"}, file}.must_work();
  attempt{{"read", "z"}, file}.must_fail();
}

// -- targets ------------------------------------------------------------------

CAF_TEST(a target that is missing or a link is refused by its name) {
  place here;
  for (auto* kind : {"r:", "w:", "r1:", "w1:"}) {
    auto refused = [&](const std::string& target) {
      auto result = run_at(
        here, awaited(confined("required", {kind + target}, {"/bin/true"})));
      CAF_CHECK(result.code != 0);
      auto path
        = target.starts_with("@") ? here.path() + target.substr(1) : target;
      CAF_CHECK_NOT_EQUAL(result.err.find("'" + path + "'"), std::string::npos);
      return result.out.substr(0, result.out.find(" cannot"));
    };
    CAF_CHECK_EQUAL(refused("@/in/none"), "error not_found");
    CAF_CHECK_EQUAL(refused("@/in/to-file"), "error not_allowed");
    CAF_CHECK_EQUAL(refused("@/in/to-folder"), "error not_allowed");
    CAF_CHECK_EQUAL(refused("@/in/to-folder/sub"), "error not_allowed");
  }
}

// -- programs -----------------------------------------------------------------

CAF_TEST(a script starts from wherever it is) {
  place here;
  // Neither the script nor its interpreter is in its scope.
  fs::copy_file("/bin/sh", here.path() + "/elsewhere/shell");
  auto script = here.path() + "/elsewhere/script";
  std::ofstream{script} << "#!" << here.path() << "/elsewhere/shell\n"
                        << "echo \"$1, $(cat a)\"\n";
  ::chmod(script.c_str(), 0755);
  for (auto* level : {"off", "required"}) {
    auto result = run_at(here, confined(level, {"r:@/in"}, {script, "--json"}));
    CAF_CHECK_EQUAL(result.out, "--json, inside\n");
  }
  // Nothing that stands beside them comes along.
  std::ofstream{here.path() + "/elsewhere/secret"} << "secret";
  auto stolen = shell("cat ../elsewhere/secret");
  CAF_CHECK_EQUAL(run_at(here, confined("off", writes, stolen)).out, "secret");
  CAF_CHECK_EQUAL(run_at(here, confined("required", writes, stolen)).out, "");
}

CAF_TEST(a program may have to be within its scope) {
  place here;
  auto start = [&](const std::string& rule, const std::string& program) {
    auto all = confined("required", {rule, "r:@/own"}, {program});
    all.insert(all.begin() + 2, "--within-scope");
    return run_at(here, all);
  };
  auto probe = here.path() + "/elsewhere/probe";
  fs::copy_file("/bin/echo", probe);
  auto result = start("r:@/in", probe);
  CAF_CHECK_EQUAL(result.code, 126);
  CAF_CHECK(result.err.find("Permission denied") != std::string::npos);
  CAF_CHECK_EQUAL(start("r:@/elsewhere", probe).code, 0);
  CAF_CHECK_EQUAL(start("r:@/in", "/bin/true").code, 0);
  // Nor is its interpreter anything else.
  auto script = here.path() + "/in/script";
  std::ofstream{script} << "#!" << probe << "\n";
  ::chmod(script.c_str(), 0755);
  CAF_CHECK_EQUAL(start("r:@/in", script).code, 126);
}

CAF_TEST(programs that do not start end as in a shell) {
  place here;
  auto path = here.path() + "/in/plain";
  std::ofstream{path} << "text";
  auto orphan = here.path() + "/in/orphan";
  std::ofstream{orphan} << "#!/no/such/shell\n";
  auto bytes = here.path() + "/in/bytes";
  std::ofstream{bytes} << "text";
  for (auto& name : {orphan, bytes})
    ::chmod(name.c_str(), 0755);
  for (auto* level : {"off", "best-effort", "required"}) {
    auto end = [&](const std::string& program) {
      auto result = run_at(here, awaited(confined(level, writes, {program})));
      auto last = result.out.substr(result.out.rfind("error "));
      CAF_CHECK_EQUAL(result.err,
                      "muster: " + last.substr(last.find("cannot")));
      return fmt::format("{} {}", result.code, last);
    };
    CAF_CHECK_EQUAL(end("@/in/none"),
                    "127 error not_found cannot start '" + here.path()
                      + "/in/none': No such file or directory\n");
    CAF_CHECK_EQUAL(end("no-such-program"),
                    "127 error not_found cannot start 'no-such-program': No "
                    "such file or directory\n");
    CAF_CHECK_EQUAL(end(path), "126 error not_allowed cannot start '" + path
                                 + "': Permission denied\n");
    CAF_CHECK_EQUAL(end(here.path()), "126 error not_allowed cannot start '"
                                        + here.path() + "': Is a directory\n");
    CAF_CHECK_EQUAL(end(orphan), "126 error not_allowed cannot start '" + orphan
                                   + "': what is to interpret it: No such file "
                                     "or directory\n");
    CAF_CHECK_EQUAL(end(bytes), "126 error not_allowed cannot start '" + bytes
                                  + "': Exec format error\n");
  }
}

CAF_TEST(words behind the mark belong to the program) {
  place here;
  auto echo = words{"/bin/echo", "--sandbox", "", "--", "-x", "[a,b]"};
  auto result = run_at(here, confined("required", writes, echo));
  CAF_CHECK_EQUAL(result.out, "--sandbox  -- -x [a,b]\n");
  for (auto& wrong : std::vector<words>{
         {"--allow", "x:/p", "--", "/bin/true"},
         {"--sandbox", "on", "--", "/bin/true"},
         {"--none", "--", "/bin/true"},
         {"/bin/true"},
         {"--"},
         {},
       })
    CAF_CHECK_EQUAL(run(words{MUSTER_PROGRAM, "confine"} + wrong).code, 2);
}

CAF_TEST(a program starts where it is told to) {
  place here;
  auto all = confined("required", writes, {"/bin/pwd"});
  all.insert(all.begin() + 2, {"--cwd", "@/in/sub"});
  CAF_CHECK_EQUAL(run_at(here, all).out, here.path() + "/in/sub\n");
  all[3] = "@/in/none";
  auto result = run_at(here, awaited(all));
  CAF_CHECK_EQUAL(result.out, "error not_found cannot confine the process: '"
                                + here.path()
                                + "/in/none': No such file or directory\n");
}

// -- the process --------------------------------------------------------------

CAF_TEST(no descriptor is inherited) {
  place here;
  auto listed = [&](const std::string& level) {
    // The last is the one by which the folder is read.
    auto all
      = confined(level, {"w:@/in", "r:/proc"}, {"/bin/ls", "/proc/self/fd"});
    return run_at(here, words{"/bin/sh", "-c",
                              "exec 7</etc/shadow; exec \"$@\"", "sh"}
                          + all)
      .out;
  };
  CAF_CHECK_NOT_EQUAL(listed("off").find("7\n"), std::string::npos);
  CAF_CHECK_EQUAL(listed("required"), "0\n1\n2\n3\n");
}

CAF_TEST(there are no new privileges and files are for their owner) {
  place here;
  auto said = [&](const std::string& level) {
    auto script = "touch made; stat -c %a made; rm made; "
                  "grep NoNewPrivs /proc/self/status";
    return run_at(here,
                  words{"/bin/sh", "-c", "umask 022; exec \"$@\"", "sh"}
                    + confined(level, {"w:@/in", "r:/proc"}, shell(script)))
      .out;
  };
  CAF_CHECK_EQUAL(said("off"), "644\nNoNewPrivs:\t0\n");
  CAF_CHECK_EQUAL(said("required"), "600\nNoNewPrivs:\t1\n");
  CAF_CHECK_EQUAL(said("best-effort"), "600\nNoNewPrivs:\t1\n");
}

CAF_TEST(root keeps no power over the machine) {
  place here;
  auto said = [&](const std::string& level) {
    auto sets = shell("grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status |"
                      " cut -f 2 | uniq");
    return run_at(here, confined(level, {"w:@/in", "r:/proc"}, sets)).out;
  };
  auto none = "0000000000000000\n";
  // chown, dac_override, fowner, fsetid, kill, setgid, setuid,
  // net_bind_service.
  CAF_CHECK_EQUAL(said("required"),
                  none + std::string{"00000000000004fb\n"} + none);
  CAF_CHECK_NOT_EQUAL(said("off"), said("required"));
}

// -- what the kernel gave -----------------------------------------------------

CAF_TEST(whoever waits hears what the kernel gave) {
  place here;
  auto line = fmt::format("confined landlock {}\n", landlock_version());
  for (auto& [level, wanted] : std::vector<std::pair<std::string, std::string>>{
         {"required", line},
         {"best-effort", line},
         {"off", "not confined\n"}}) {
    auto all = confined(level, writes, {"/bin/echo", "begun"});
    auto result = run_at(here, awaited(all));
    CAF_CHECK_EQUAL(result.out, wanted + "begun\n");
    CAF_CHECK_EQUAL(result.err, "");
    // Without anybody who waits.
    CAF_CHECK_EQUAL(run_at(here, all).err,
                    level == "best-effort" ? "muster: " + line : "");
  }
}

CAF_TEST(a kernel without Landlock is told of) {
  place here;
  auto without = [&](const std::string& level) {
    return run_at(
      here, awaited(words{MUSTER_CONFINE_PROBE, "without-landlock"}
                    + confined(level, {"r:@/in"}, {"/bin/cat", "../out/a"})));
  };
  auto required = without("required");
  std::string why = "cannot confine the process: the kernel has no Landlock, "
                    "or it is switched off\n";
  CAF_CHECK_EQUAL(required.out, "error not_allowed " + why);
  CAF_CHECK_EQUAL(required.err, "muster: " + why);
  CAF_CHECK_EQUAL(required.code, 5);
  CAF_CHECK_EQUAL(without("best-effort").out, "not confined\nsecret");
  CAF_CHECK_EQUAL(without("off").out, "not confined\nsecret");
}

namespace {

/// What one listener heard, in order.
class ear {
public:
  process_listener listener() {
    return [this](process_event event) {
      std::lock_guard guard{mutex_};
      heard_.push_back(std::move(event));
      changed_.notify_all();
    };
  }

  template <class Event>
  Event next() {
    std::unique_lock lock{mutex_};
    if (!changed_.wait_for(lock, patience, [this] { return !heard_.empty(); }))
      CAF_FAIL("nothing was heard");
    auto event = std::move(heard_.front());
    heard_.pop_front();
    if (!std::holds_alternative<Event>(event))
      CAF_FAIL("something else was heard");
    return std::get<Event>(event);
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<process_event> heard_;
};

} // namespace

CAF_TEST(the port of processes hears of the exec and of its failure) {
  place here;
  ear heard;
  auto port = *system_processes::open(10);
  auto start = [&](const words& program) {
    auto all = here.with_path(confined("required", writes, program));
    process_order order{all[0],
                        {all.begin() + 1, all.end()},
                        {"PATH=/usr/bin:/bin"},
                        "/",
                        no_output{},
                        patience};
    order.ready_by = readiness::exec;
    auto who = port->start(order, heard.listener());
    CAF_REQUIRE(who);
    return *who;
  };
  auto who = start({"/bin/sleep", "1000"});
  CAF_CHECK_EQUAL(heard.next<process_ready>().line,
                  fmt::format("confined landlock {}", landlock_version()));
  // By now it is the program.
  CAF_CHECK_EQUAL(read_file(fmt::format("/proc/{}/comm", who.pid)), "sleep\n");
  CAF_CHECK(port->send(who, SIGTERM));
  CAF_CHECK(!heard.next<process_ended>().never_ready);
  start({"@/in/none"});
  auto ended = heard.next<process_ended>();
  process_exit none{process_exit::manner::exited, 127};
  CAF_CHECK_EQUAL(ended.end, none);
  CAF_REQUIRE(ended.never_ready);
  CAF_CHECK_EQUAL(ended.never_ready->code, errc::program_failed);
  CAF_CHECK_EQUAL(ended.never_ready->message,
                  "cannot start '" + here.path()
                    + "/in/none': No such file or directory");
}
