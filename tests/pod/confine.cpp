// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pod.confine

#include "actors/pod/confine.hpp"

#include "tests/support/suite.hpp"

#include "actors/pod/program.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <sys/stat.h>

using namespace muster;

namespace {

constexpr std::uint64_t reading = path_rights::read | path_rights::execute;

struct fixture {
  fixture() {
    char name[] = "/tmp/muster-confine-XXXXXX";
    folder = ::mkdtemp(name);
  }

  ~fixture() {
    std::filesystem::remove_all(folder);
  }

  std::string write(const std::string& name, const std::string& text,
                    mode_t mode) const {
    auto path = folder + "/" + name;
    std::ofstream{path} << text;
    ::chmod(path.c_str(), mode);
    return path;
  }

  /// What the plan adds to what all programs get.
  expected<std::vector<path_rule>> planned(const confine_order& order) const {
    auto plan = plan_confinement(order, {"/bin/prog"}, reader);
    if (!plan)
      return tl::unexpected<failure>{plan.error()};
    CAF_CHECK(plan->allows_network);
    CAF_CHECK(!plan->allows_outside);
    auto& all = plan->paths;
    CAF_REQUIRE_GREATER(all.size(), base_rules().size());
    return std::vector<path_rule>(
      all.begin() + static_cast<std::ptrdiff_t>(base_rules().size()),
      all.end());
  }

  std::string folder;
  folder_reader reader = [](const std::string& path)
    -> expected<std::optional<std::vector<std::string>>> {
    if (path == "/folder")
      return std::vector<std::string>{"a", "b"};
    if (path == "/file")
      return std::nullopt;
    return fail(errc::not_found, "no " + path);
  };
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(confine_tests, fixture)

CAF_TEST(a kernel that cannot confine is refused where that is required) {
  for (auto level : {sandbox_mode::best_effort, sandbox_mode::off})
    for (auto version : {0, 2, 7})
      CAF_CHECK(check_sandbox(level, version));
  auto required = sandbox_mode::required;
  CAF_CHECK(check_sandbox(required, 3));
  CAF_CHECK(check_sandbox(required, 7));
  auto none = check_sandbox(required, 0);
  CAF_REQUIRE(!none);
  CAF_CHECK_EQUAL(none.error().code, errc::not_allowed);
  CAF_CHECK_EQUAL(none.error().message,
                  "cannot confine the process: the kernel has no Landlock, or "
                  "it is switched off");
  auto old = check_sandbox(required, 2);
  CAF_REQUIRE(!old);
  CAF_CHECK_EQUAL(old.error().message,
                  "cannot confine the process: the kernel has version 2 of "
                  "Landlock, and version 3 is the first one that protects "
                  "files from being emptied");
  for (auto* level : {"required", "best-effort", "off"})
    CAF_CHECK(parse_sandbox(level));
  CAF_CHECK_EQUAL(parse_sandbox("on").error().code, errc::invalid_argument);
}

CAF_TEST(a scope becomes rights of paths) {
  confine_order order;
  order.scope
    = {{"/src", permission::write, true}, {"/docs", permission::read, true}};
  order.own_folder = "/own";
  auto rules = *planned(order);
  CAF_REQUIRE_EQUAL(rules.size(), 4u);
  CAF_CHECK_EQUAL(rules[0].path, "/bin/prog");
  CAF_CHECK_EQUAL(rules[0].rights,
                  path_rights::read_file | path_rights::execute);
  CAF_CHECK_EQUAL(rules[1].path, "/src");
  // All that there is, but no devices, and no orders to those that are there.
  std::uint64_t writing = (1u << 15) - 1 - (1u << 6) - (1u << 11);
  CAF_CHECK_EQUAL(rules[1].rights, writing);
  CAF_CHECK_EQUAL(rules[2].rights, reading);
  CAF_CHECK_EQUAL(rules[3].path, "/own");
  CAF_CHECK_EQUAL(rules[3].rights, writing);
  for (std::size_t i = 1; i < rules.size(); ++i)
    CAF_CHECK(rules[i].kind == path_kind::exact);
}

CAF_TEST(a rule of one level speaks of files and of no folder) {
  confine_order order;
  order.scope = {{"/folder", permission::write, false},
                 {"/file", permission::read, false}};
  auto rules = *planned(order);
  CAF_REQUIRE_EQUAL(rules.size(), 5u);
  CAF_CHECK_EQUAL(rules[1].path, "/folder");
  CAF_CHECK_EQUAL(rules[1].rights, 0u);
  for (auto i : {2, 3})
    CAF_CHECK(rules[i].kind == path_kind::exact_file);
  CAF_CHECK_EQUAL(rules[2].path, "/folder/a");
  CAF_CHECK_EQUAL(rules[3].path, "/folder/b");
  CAF_CHECK_EQUAL(rules[4].path, "/file");
  CAF_CHECK_EQUAL(rules[4].rights, reading);
  CAF_CHECK(rules[4].kind == path_kind::exact);
  order.scope = {{"/none", permission::read, false}};
  CAF_CHECK_EQUAL(planned(order).error().message, "no /none");
}

CAF_TEST(a scope has a limit) {
  confine_order order;
  order.scope.resize(max_confined_rules, {"/src", permission::write, true});
  CAF_CHECK(planned(order));
  order.scope.resize(max_confined_rules + 1, {"/src", permission::write, true});
  CAF_CHECK_EQUAL(planned(order).error().code, errc::too_large);
}

CAF_TEST(what every program gets can be read and nothing but null written) {
  auto writable = path_rights::write;
  for (auto& rule : base_rules()) {
    CAF_CHECK(rule.path != "/" && rule.path != "/etc" && rule.path != "/dev"
              && rule.path != "/proc");
    if ((rule.rights & writable) != 0)
      CAF_CHECK_EQUAL(rule.path, "/dev/null");
  }
}

CAF_TEST(folders are read up to a limit) {
  write("a", "", 0600);
  write("b", "", 0600);
  auto names = **read_folder(folder);
  std::sort(names.begin(), names.end());
  CAF_CHECK_EQUAL(names, (std::vector<std::string>{"a", "b"}));
  CAF_CHECK(!*read_folder(folder + "/a"));
  CAF_CHECK_EQUAL(read_folder(folder + "/c").error().code, errc::not_found);
  for (std::size_t i = 2; i <= max_direct_children; ++i)
    std::ofstream{folder + "/" + std::to_string(i)};
  auto many = read_folder(folder);
  CAF_REQUIRE(!many);
  CAF_CHECK_EQUAL(many.error().code, errc::too_large);
}

CAF_TEST(programs are found as a shell does) {
  for (auto* name : {"/one", "/two", "/two/folder"})
    std::filesystem::create_directory(folder + name);
  auto plain = write("one/plain", "", 0600);
  auto there = write("two/plain", "", 0700);
  auto script = write("two/script", "", 0700);
  auto path = folder + "/none::relative:" + folder + "/one:" + folder + "/two";
  CAF_CHECK_EQUAL(*find_program("plain", path), there);
  CAF_CHECK_EQUAL(*find_program(script, path), script);
  auto code = [&](const std::string& name) {
    return find_program(name, path).error().code;
  };
  CAF_CHECK_EQUAL(code("absent"), errc::not_found);
  CAF_CHECK_EQUAL(code(""), errc::not_found);
  CAF_CHECK_EQUAL(code(folder + "/absent"), errc::not_found);
  CAF_CHECK_EQUAL(code(folder + "/two/script/x"), errc::not_found);
  CAF_CHECK_EQUAL(code(plain), errc::not_allowed);
  CAF_CHECK_EQUAL(code(folder), errc::not_allowed);
  CAF_CHECK_EQUAL(code("folder"), errc::not_allowed);
  CAF_CHECK_EQUAL(find_program("absent", path).error().message,
                  "cannot start 'absent': No such file or directory");
}

CAF_TEST(the interpreters of a script are those that the kernel takes) {
  using names = std::vector<std::string>;
  auto shell = write("shell", "#!/bin/sh -e\n", 0700);
  auto nested = write("nested", "#! \t" + shell + "\targument\n", 0700);
  auto bare = write("bare", "#!" + shell, 0700);
  CAF_CHECK_EQUAL(interpreters_of(nested), (names{shell, "/bin/sh"}));
  CAF_CHECK_EQUAL(interpreters_of(bare), (names{shell, "/bin/sh"}));
  CAF_CHECK_EQUAL(interpreters_of("/bin/sh"), names{});
  for (auto& text :
       {std::string{}, std::string{"#!"}, std::string{"#!\n/bin/sh"},
        " #!/bin/sh" + std::string{}, "#!/" + std::string(300, 'x') + "\n"})
    CAF_CHECK_EQUAL(interpreters_of(write("other", text, 0700)), names{});
  // Nobody reads a file because a script names it.
  auto secret = write("secret", "", 0600);
  CAF_CHECK_EQUAL(interpreters_of(write("thief", "#!" + secret + "\n", 0700)),
                  names{});
  // One that names itself comes to an end.
  auto circle = write("circle", "#!" + folder + "/circle\n", 0700);
  CAF_CHECK_EQUAL(interpreters_of(circle).size(), 5u);
}

CAF_TEST_FIXTURE_SCOPE_END()
