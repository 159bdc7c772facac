// SPDX-License-Identifier: Apache-2.0

// Pods as those see them who run a node: what the verbs say, what a pod may
// touch, and what comes back when it has gone.

#define CAF_SUITE black_box.pods

#include "tests/black_box/calls.hpp"
#include "tests/black_box/command_line.hpp"
#include "tests/black_box/pod_box.hpp"
#include "tests/support/suite.hpp"

#include <filesystem>
#include <fstream>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace fs = std::filesystem;

namespace {

constexpr const char* fields_of_a_pod
  = "class created_at folder id last_error lender name pid sandbox scope "
    "socket state turns";

/// Says that it is there, and stays.
constexpr const char* stay = "echo up; sleep 1000";

/// Tries everything that changes a folder, and says what came through.
constexpr const char* try_all = R"sh(
try() {
  name=$1; shift
  if (eval "$*") 2>/dev/null; then echo "$name"; else echo "no $name"; fi
}
for at in "$INSIDE" "$OUTSIDE"; do
  echo mine > "$MUSTER_POD_FOLDER/mine"
  try write 'echo x >> $at/old'
  try truncate 'truncate -s 0 $at/old'
  try create 'echo x > $at/new'
  try link 'ln $MUSTER_POD_FOLDER/mine $at/linked'
  try symlink 'ln -s nowhere $at/symlink'
  try rename 'mv $at/old $at/renamed'
  try import 'mv $MUSTER_POD_FOLDER/mine $at/imported'
  try folder 'mkdir $at/folder'
  try remove 'rm $at/gone'
done
echo up
sleep 1000
)sh";

constexpr const char* all_of_try_all
  = "write\ntruncate\ncreate\nlink\nsymlink\nrename\nimport\nfolder\nremove\n";

void write(const std::string& path, const std::string& text) {
  std::ofstream{path, std::ios::binary} << text;
}

/// What a folder holds, with what stands in its files.
std::string contents_of(const std::string& folder) {
  std::vector<std::string> lines;
  for (auto& entry : fs::recursive_directory_iterator{folder}) {
    std::ifstream in{entry.path()};
    lines.push_back(entry.path().filename().string() + ": "
                    + std::string{std::istreambuf_iterator<char>{in}, {}});
  }
  std::sort(lines.begin(), lines.end());
  return fmt::format("{}", fmt::join(lines, "\n"));
}

/// A folder with two files.
std::string filled_folder(const pod_box& box, const std::string& name) {
  auto out = box.make_folder(name);
  write(out + "/old", "old text");
  write(out + "/gone", "more");
  return out;
}

program_result spawn(pod_box& box, const std::string& name,
                     const std::string& rules,
                     std::vector<std::string> more = {}) {
  std::vector<std::string> words{"--json", "pod",     "spawn",
                                 name,     "--scope", rules};
  words.insert(words.end(), more.begin(), more.end());
  return box.run(words);
}

/// The verbs print their error, and exit with its code.
void check_refused(const program_result& result, int code,
                   const std::string& name, const std::string& about) {
  CAF_CHECK_EQUAL(result.code, code);
  CAF_CHECK_EQUAL(result.error_code(), name);
  CAF_CHECK(contains(result.err, about));
  CAF_CHECK_EQUAL(result.out, "");
}

} // namespace

// -- who is lent what ---------------------------------------------------------

CAF_TEST(a scope that is lent is not lent twice and comes back with a stop) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  auto b = box.make_folder("b");
  box.spawned("first", "w:" + a);
  box.spawned("second", "w:" + b);
  auto rule = "w:" + a + "/sub";
  fs::create_directory(a + "/sub");
  auto refused = spawn(box, "third", rule);
  check_refused(refused, 6, "conflict", "first");
  CAF_CHECK(contains(refused.err, rule));
  CAF_CHECK_EQUAL(box.pod("third").size(), 0u);
  auto stopped = box.run({"pod", "stop", "first"});
  CAF_CHECK_EQUAL(stopped.code, 0);
  CAF_CHECK_EQUAL(
    stopped.out,
    fmt::format("stopped pod 'first'; reclaimed scope: w:{}\n", a));
  box.spawned("third", rule);
  CAF_CHECK_EQUAL(box.pod("third")["state"], "ready");
  CAF_CHECK((box.borrowers() == std::set<std::string>{"second", "third"}));
  CAF_CHECK_EQUAL(box.disorder(), "");
}

CAF_TEST(what two pods read nobody has for himself) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  box.spawned("one", "r:" + a);
  box.spawned("two", "r:" + a);
  box.spawned("writer", "w:" + a);
  auto holders = box.run({"pod", "scopes", "check", a + "/file"});
  CAF_CHECK_EQUAL(lines_of(holders.out).size(), 4u);
  CAF_CHECK(contains(holders.out, "writer\twrite\tw:" + a + "\toperator\n"));
  CAF_CHECK(contains(holders.out, "one\tread\tr:" + a + "\toperator\n"));
  CAF_CHECK(contains(holders.out, "operator\tread\tw:/\t-\n"));
}

CAF_TEST(the state directory and what is not granted is never lent) {
  pod_box box;
  auto a = box.make_folder("a");
  auto b = box.make_folder("b");
  fs::create_directory_symlink(box.state(), a + "/link");
  box.require_start(
    {"--pods.grant", fmt::format("w:{},-w:{}", box.folder.path(), b)});
  for (auto& target : {box.state(), box.state() + "/tls", box.folder.path(),
                       a + "/link", a + "/link/tls"})
    for (auto* kind : {"r:", "w:"})
      check_refused(spawn(box, "thief", kind + target), 5, "not_allowed",
                    "cannot lend");
  check_refused(spawn(box, "writer", "w:" + b), 5, "not_allowed", b);
  check_refused(spawn(box, "other", "r:/usr"), 5, "not_allowed", "/usr");
  box.spawned("reader", "r:" + b);
  CAF_CHECK((box.borrowers() == std::set<std::string>{"reader"}));
}

CAF_TEST(a new grant counts from the next start) {
  pod_box box;
  auto a = box.make_folder("a");
  auto b = box.make_folder("b");
  box.require_start();
  box.spawned("first", "w:" + a);
  CAF_CHECK_EQUAL(box.stop().code, 0);
  box.require_start({"--pods.grant", "w:" + a});
  CAF_CHECK_EQUAL(box.pod("first")["state"], "ready");
  check_refused(spawn(box, "second", "w:" + b), 5, "not_allowed", b);
  CAF_CHECK_EQUAL(box.stop().code, 0);
  box.require_start();
  box.spawned("second", "w:" + b);
}

CAF_TEST(a pod lends on what it may) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  auto sub = box.make_folder("a/sub");
  box.spawned("parent", "w:" + a, {"--delegate", "w:" + sub});
  check_refused(spawn(box, "child", "w:" + a, {"--lender", "parent"}), 5,
                "not_allowed", "parent");
  check_refused(spawn(box, "child", "w:" + sub), 6, "conflict", "parent");
  check_refused(spawn(box, "child", "w:" + sub, {"--lender", "nobody"}), 3,
                "not_found", "nobody");
  auto child = box.spawned("child", "w:" + sub, {"--lender", "parent"});
  CAF_CHECK_EQUAL(child["lender"], "parent");
  // Towards its own tools the lender has nothing left there.
  CAF_CHECK_EQUAL(box.said("child", "return files.write_file('x', '1')"),
                  "true\n");
  check_refused(spawn(box, "second", "w:" + sub, {"--lender", "parent"}), 6,
                "conflict", "child");
  // What a lender had goes back to whoever lent it, and its child keeps its.
  CAF_CHECK_EQUAL(box.run({"pod", "stop", "parent"}).code, 0);
  CAF_CHECK_EQUAL(box.pod("child")["lender"], "operator");
  CAF_CHECK_EQUAL(box.said("child", "return files.write_file('x', '2')"),
                  "true\n");
  check_refused(spawn(box, "parent", "w:" + a), 6, "conflict", "child");
  CAF_CHECK_EQUAL(box.disorder(), "");
}

// -- what a pod may touch -----------------------------------------------------

CAF_TEST(a program changes what it was lent and nothing else) {
  pod_box box;
  box.require_start();
  auto in = filled_folder(box, "in");
  auto out = filled_folder(box, "out");
  auto before = contents_of(out);
  auto pod
    = box.spawned_shell("shell", "w:" + in, try_all,
                        {"--env", "INSIDE=" + in, "--env", "OUTSIDE=" + out});
  std::string refused;
  for (auto& line : lines_of(all_of_try_all))
    refused += "no " + line + "\n";
  CAF_CHECK_EQUAL(box.output_of(pod),
                  fmt::format("{}{}up\n", all_of_try_all, refused));
  CAF_CHECK_EQUAL(contents_of(out), before);
}

CAF_TEST(what may be read may not be changed) {
  pod_box box;
  box.require_start();
  auto out = filled_folder(box, "out");
  auto before = contents_of(out);
  auto pod = box.spawned_shell(
    "shell", "r:" + out, fmt::format("cat {}/old; echo; {}", out, try_all),
    {"--env", "INSIDE=" + out, "--env", "OUTSIDE=" + out});
  auto said = box.output_of(pod);
  CAF_CHECK(said.starts_with("old text\nno write\nno truncate\n"));
  CAF_CHECK_EQUAL(lines_of(said).size(), 20u);
  CAF_CHECK_EQUAL(contents_of(out), before);
}

CAF_TEST(the reference pod changes what it was lent and nothing else) {
  pod_box box;
  box.require_start();
  auto in = filled_folder(box, "in");
  auto out = filled_folder(box, "out");
  auto before = contents_of(out);
  box.spawned("agent", "w:" + in,
              {"--task", "lua: return files.read_file('old')"});
  CAF_CHECK(eventually([&] { return box.pod("agent")["turns"] == 1; }));
  CAF_CHECK_EQUAL(box.run({"pod", "read", "agent"}).out, "old text\n");
  CAF_CHECK_EQUAL(box.said("agent", "return files.write_file('new', 'text')"),
                  "true\n");
  for (auto& path : {out + "/new", out + "/old", std::string{"../out/old"}})
    CAF_CHECK_EQUAL(
      box.said("agent", fmt::format("local ok, why, code = files.write_file("
                                    "'{}', 'x') return tostring(ok) .. code",
                                    path)),
      "nilnot_allowed\n");
  CAF_CHECK_EQUAL(contents_of(out), before);
  CAF_CHECK(contains(contents_of(in), "new: text"));
}

CAF_TEST(without a sandbox the list says so) {
  pod_box box;
  box.require_start();
  auto in = box.make_folder("in");
  auto out = box.make_folder("out");
  auto script = fmt::format("echo x > {}/file; {}", out, stay);
  auto pod = box.spawned_shell("free", "w:" + in, script, {"--sandbox", "off"});
  CAF_CHECK_EQUAL(pod["sandbox"], "none");
  CAF_CHECK_EQUAL(box.pod("free")["sandbox"], "none");
  CAF_CHECK_EQUAL(contents_of(out), "file: x\n");
  auto confined = box.spawned_shell("confined", "r:" + out, stay);
  CAF_CHECK(contains(confined["sandbox"], "landlock "));
}

CAF_TEST(a program gets its variables and its folder and no others) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  auto sub = box.make_folder("a/sub");
  auto pod
    = box.spawned_shell("shell", "r:" + a,
                        "pwd; echo \"$ONE $TWO $MUSTER_POD_TASK\"; "
                        "echo ${MUSTER_STATE_DIR-none}; echo up; sleep 1000",
                        {"--cwd", sub, "--env", "ONE=1", "--env", "TWO=a b=c",
                         "--task", "the task"});
  CAF_CHECK_EQUAL(box.output_of(pod),
                  fmt::format("{}\n1 a b=c the task\nnone\nup\n", sub));
  check_refused(spawn(box, "other", "r:" + a, {"--env", "MUSTER_POD_ID=x"}), 2,
                "invalid_argument", "MUSTER_POD_ID");
  check_refused(spawn(box, "other", "r:" + sub, {"--cwd", a}), 5, "not_allowed",
                a);
  auto folder = box.spawned("agent", "r:" + a);
  CAF_CHECK_EQUAL(box.said("agent", "return files.list_dir('.')[1]"), "sub/\n");
}

// -- the verbs ----------------------------------------------------------------

CAF_TEST(the verbs of pods print one document each) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  auto list = [&] { return only_document(box.run_json({"pod", "list"}).out); };
  CAF_CHECK_EQUAL(list().dump(), R"({"pods":[]})");
  auto made = box.spawned("agent", "w:" + a);
  CAF_CHECK_EQUAL(fields_of(made), fields_of_a_pod);
  CAF_CHECK_EQUAL(made["state"], "ready");
  CAF_CHECK_EQUAL(made["class"], "protocol");
  CAF_CHECK_EQUAL(made["lender"], "operator");
  json rule{{"target", a}, {"permission", "write"}, {"recursive", true}};
  CAF_CHECK_EQUAL(made["scope"], json::array({rule}));
  auto all = list();
  CAF_CHECK_EQUAL(all, (json{{"pods", json::array({made})}}));
  auto sent = only_document(
    box.run_json({"pod", "send", "agent", "lua: return 'text'"}).out);
  CAF_CHECK_EQUAL(sent.dump(), R"({"name":"agent","status":"sent","turn":1})");
  CAF_CHECK(eventually([&] { return box.pod("agent")["turns"] == 1; }));
  auto output = only_document(box.run_json({"pod", "read", "agent"}).out);
  CAF_CHECK_EQUAL(fields_of(output), "from more name skipped state texts to");
  CAF_CHECK_EQUAL(output["texts"].dump(), R"(["text"])");
  auto scopes = only_document(box.run_json({"pod", "scopes"}).out);
  CAF_CHECK_EQUAL(fields_of(scopes), "allocations loans");
  CAF_REQUIRE_EQUAL(scopes["loans"].size(), 1u);
  CAF_CHECK_EQUAL(fields_of(scopes["loans"][0]), "borrower id lender rule");
  CAF_CHECK_EQUAL(scopes["loans"][0]["rule"], rule);
  auto holders = only_document(box.run_json({"pod", "scopes", "check", a}).out);
  CAF_REQUIRE_EQUAL(holders["holders"].size(), 2u);
  CAF_CHECK_EQUAL(fields_of(holders["holders"][0]),
                  "lender name permission rule");
  auto stopped = only_document(box.run_json({"pod", "stop", "agent"}).out);
  CAF_CHECK_EQUAL(stopped, (json{{"name", "agent"},
                                 {"status", "stopped"},
                                 {"reclaimed", json::array({rule})},
                                 {"end", "ended with exit code 0"}}));
  CAF_CHECK_EQUAL(list().dump(), R"({"pods":[]})");
}

CAF_TEST(each failure has its exit code) {
  pod_box box;
  box.require_start(
    {"--pods.send-timeout", "300ms", "--pods.spawn-timeout", "20s"});
  auto a = box.make_folder("a");
  for (std::vector<std::string> verb :
       {std::vector<std::string>{"pod", "send", "nobody", "text"},
        {"pod", "read", "nobody"},
        {"pod", "stop", "nobody"}})
    check_refused(box.run_json(verb), 3, "not_found", "nobody");
  check_refused(spawn(box, "agent", "w:" + a + "/none"), 3, "not_found",
                a + "/none");
  for (std::string wrong : {"w:relative", "x:/", "/tmp", "-w:/tmp", ""})
    check_refused(spawn(box, "agent", wrong), 2, "invalid_argument", wrong);
  for (std::string wrong : {"", ".", "..", "a/b", "../a"})
    CAF_CHECK_EQUAL(spawn(box, wrong, "w:" + a).code, 2);
  CAF_CHECK_EQUAL(box.run({"pod", "spawn", "agent"}).code, 2);
  CAF_CHECK_EQUAL(spawn(box, "agent", "w:" + a, {"--sandbox", "so"}).code, 2);
  auto missing = spawn(box, "agent", "w:" + a, {"--", "no-such-program"});
  CAF_CHECK(missing.code != 0);
  CAF_CHECK(contains(missing.err, "no-such-program"));
  box.spawned_shell("plain", "r:" + a, stay);
  check_refused(box.run_json({"pod", "send", "plain", "x"}), 2,
                "invalid_argument", "output.log");
  check_refused(box.run_json({"pod", "read", "plain"}), 2, "invalid_argument",
                "output.log");
  // A pod that is in a turn, and one that does not answer.
  auto agent = box.spawned("agent", "w:" + a);
  CAF_CHECK_EQUAL(
    box.run({"pod", "send", "agent", "lua: while true do end"}).code, 0);
  check_refused(box.run_json({"pod", "send", "agent", "lua: return 1"}), 6,
                "busy", "agent");
  CAF_CHECK_EQUAL(box.run({"pod", "stop", "agent"}).code, 0);
  agent = box.spawned("agent", "w:" + a);
  ::kill(agent["pid"].get<pid_t>(), SIGSTOP);
  check_refused(box.run_json({"pod", "send", "agent", "lua: return 1"}), 7,
                "timeout", "agent");
  ::kill(agent["pid"].get<pid_t>(), SIGCONT);
}

CAF_TEST(bytes that are no text are refused and the node goes on) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  auto strange = box.make_folder("a/strange\xFF");
  std::filesystem::create_directory_symlink(strange, a + "/link");
  for (std::vector<std::string> more :
       {std::vector<std::string>{"--", "sh", "-c", "echo \xFF"},
        {"--", "\xFF"},
        {"--cwd", strange},
        {"--task", "\xFF"}})
    check_refused(spawn(box, "agent", "w:" + a, more), 2, "not_utf8", "agent");
  CAF_CHECK_EQUAL(spawn(box, "agent", "w:" + a, {"--cwd", a + "/link"}).code,
                  2);
  CAF_CHECK_EQUAL(spawn(box, "agent", "w:" + strange).code, 2);
  CAF_CHECK_EQUAL(
    spawn(box, "agent", "w:" + a, {"--delegate", "w:" + strange}).code, 2);
  auto group
    = box.run_json({"group", "create", "crew", "--kind", "pod", "--slots", "1",
                    "--scope", "w:" + a, "--", "sh", "-c", "\xFF"});
  check_refused(group, 2, "not_utf8", "crew");
  CAF_CHECK(box.borrowers().empty());
  box.spawned("agent", "w:" + a);
}

CAF_TEST(what is left out by mistake is no order) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  for (std::vector<std::string> more :
       {std::vector<std::string>{"--lender", ""},
        {"--cwd", ""},
        {"--request-id", ""},
        {"true"},
        {"true", "--", "false"}})
    CAF_CHECK_EQUAL(spawn(box, "agent", "w:" + a, more).code, 2);
  CAF_CHECK(box.borrowers().empty());
  box.spawned("agent", "w:" + a);
  CAF_CHECK_EQUAL(box.run({"pod", "read", "agent", "--from", ""}).code, 2);
}

CAF_TEST(a pod whose record is damaged is ended before its loan comes back) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  auto pid = box.spawned("agent", "w:" + a)["pid"].get<pid_t>();
  box.kill();
  auto path = box.state() + "/pods/pods.json";
  auto document = json::parse(std::ifstream{path});
  document["pods"][0]["cwd"] = 7;
  std::ofstream{path} << document.dump();
  box.require_start();
  CAF_CHECK(is_living(pid));
  check_refused(spawn(box, "other", "w:" + a), 6, "conflict", "agent");
  CAF_CHECK_EQUAL(box.run({"pod", "stop", "agent"}).code, 0);
  CAF_CHECK(!is_living(pid));
  box.spawned("other", "w:" + a);
  CAF_CHECK_EQUAL(box.disorder(), "");
}

CAF_TEST(a pod that does not come to be ready leaves nothing) {
  pod_box box;
  box.require_start({"--pods.spawn-timeout", "2s"});
  auto a = box.make_folder("a");
  check_refused(spawn(box, "mute", "w:" + a,
                      {"--protocol", "--", "sh", "-c", "sleep 1000 & wait"}),
                7, "timeout", "mute");
  CAF_CHECK(box.pod_processes().empty());
  CAF_CHECK(box.borrowers().empty());
  CAF_CHECK_EQUAL(box.pod("mute").size(), 0u);
}

CAF_TEST(each reader has a place of its own) {
  pod_box box;
  box.require_start();
  box.spawned("agent", "r:" + box.make_folder("a"));
  CAF_CHECK_EQUAL(box.said("agent", "return 'one'"), "one\n");
  auto read = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"pod", "read", "agent"});
    return box.run(more).out;
  };
  CAF_CHECK_EQUAL(read({"--as", "second"}), "one\n");
  CAF_CHECK_EQUAL(read({"--as", "second"}), "");
  CAF_CHECK_EQUAL(box.said("agent", "return 'two'"), "two\n");
  CAF_CHECK_EQUAL(read({}), "");
  CAF_CHECK_EQUAL(read({"--from", "1:0"}), "one\ntwo\n");
  CAF_CHECK_EQUAL(read({"--as", "second"}), "two\n");
  CAF_CHECK_EQUAL(read({"--as", "third"}), "one\ntwo\n");
}
