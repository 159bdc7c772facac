// SPDX-License-Identifier: Apache-2.0

// The output of pods, in real files of a folder that nobody trusts.

#define CAF_SUITE pod.output

#include "actors/pod/pod_output.hpp"

#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace muster;

namespace {

namespace fs = std::filesystem;

struct fixture {
  fs::path folder;

  fixture() {
    std::string name = fs::temp_directory_path() / "pod-output-XXXXXX";
    CAF_REQUIRE(::mkdtemp(name.data()));
    folder = name;
    fs::create_directories(folder / "output");
  }

  ~fixture() {
    fs::remove_all(folder);
  }

  fs::path segment(std::uint64_t n) const {
    return folder / "output" / output_file(n);
  }

  void write(std::uint64_t n, const std::string& text) const {
    std::ofstream{segment(n), std::ios::app} << text;
  }

  static std::string line(const std::string& text) {
    return json{{"kind", "text"}, {"text", text}}.dump() + "\n";
  }

  output_piece read(output_cursor from = {}, std::uint64_t max = 1'000) const {
    auto out = read_output(folder, from, max);
    if (!out)
      CAF_FAIL(out.error().message);
    return *out;
  }

  errc code(output_cursor from = {}) const {
    auto out = read_output(folder, from, 1'000);
    CAF_REQUIRE(!out);
    return out.error().code;
  }

  using texts = std::vector<std::string>;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(output_tests, fixture)

CAF_TEST(nothing is an empty piece) {
  auto x = read();
  CAF_CHECK(x.texts.empty());
  CAF_CHECK(x.to == output_cursor{});
  fs::remove_all(folder / "output");
  CAF_CHECK(read().texts.empty());
}

CAF_TEST(each text is read once) {
  write(1, line("one") + line("two"));
  auto x = read();
  CAF_CHECK((x.texts == texts{"one", "two"}));
  CAF_CHECK(x.to == (output_cursor{1, fs::file_size(segment(1))}));
  CAF_CHECK(!x.more);
  CAF_CHECK(read(x.to).texts.empty());
  CAF_CHECK(read(x.to).to == x.to);
  write(1, line("three"));
  CAF_CHECK(read(x.to).texts == texts{"three"});
}

CAF_TEST(reading goes on in the next file) {
  write(1, line("one"));
  write(2, line("two"));
  write(3, line("three"));
  auto x = read();
  CAF_CHECK((x.texts == texts{"one", "two", "three"}));
  CAF_CHECK(x.to == (output_cursor{3, fs::file_size(segment(3))}));
  CAF_CHECK((read({2, 0}).texts == texts{"two", "three"}));
  // A file that is not there yet is not skipped.
  write(5, line("five"));
  CAF_CHECK(read(x.to).texts.empty());
  write(4, line("four"));
  CAF_CHECK((read(x.to).texts == texts{"four", "five"}));
}

CAF_TEST(a line counts once it is whole) {
  auto whole = line("one");
  for (std::size_t n = 1; n < whole.size(); ++n) {
    fs::remove(segment(1));
    write(1, whole.substr(0, n));
    auto x = read();
    CAF_CHECK(x.texts.empty());
    CAF_CHECK_EQUAL(x.skipped, 0u);
    write(1, whole.substr(n));
    CAF_CHECK(read(x.to).texts == texts{"one"});
  }
}

CAF_TEST(a torn line is skipped once there is a next file) {
  write(1, line("one") + "{\"kind\":\"te");
  auto x = read();
  CAF_CHECK(x.texts == texts{"one"});
  write(2, line("two"));
  auto y = read(x.to);
  CAF_CHECK(y.texts == texts{"two"});
  CAF_CHECK_EQUAL(y.skipped, 1u);
}

CAF_TEST(lines without a text are counted) {
  write(1, "{\"kind\":\"tool\"}\n\n7\nnone\n{\"kind\":\"text\",\"text\":7}\n"
             + line("one") + "\xFF\n");
  auto x = read();
  CAF_CHECK(x.texts == texts{"one"});
  CAF_CHECK_EQUAL(x.skipped, 5u);
}

CAF_TEST(pieces are no larger than is allowed and lose nothing) {
  texts all;
  for (int i = 0; i < 50; ++i) {
    all.push_back(fmt::format("text {}", i));
    write(1 + static_cast<std::uint64_t>(i) / 10, line(all.back()));
  }
  for (std::uint64_t max : {40u, 64u, 100u, 333u}) {
    texts seen;
    output_cursor at;
    for (int pieces = 0; pieces < 100; ++pieces) {
      auto x = read(at, max);
      std::size_t bytes = 0;
      for (auto& text : x.texts)
        bytes += line(text).size();
      CAF_CHECK(bytes <= max);
      CAF_CHECK_EQUAL(x.skipped, 0u);
      seen.insert(seen.end(), x.texts.begin(), x.texts.end());
      at = x.to;
      if (!x.more)
        break;
    }
    CAF_CHECK(seen == all);
  }
}

CAF_TEST(a line that is longer than a piece is skipped) {
  write(1, line("one") + line(std::string(500, 'x')) + line("two"));
  auto x = read({}, 100);
  CAF_CHECK(x.texts == texts{"one"});
  CAF_CHECK(x.more);
  auto y = read(x.to, 100);
  CAF_CHECK(y.texts.empty());
  CAF_CHECK(y.more);
  CAF_CHECK_EQUAL(y.skipped, 1u);
  CAF_CHECK(read(y.to, 100).texts == texts{"two"});
}

CAF_TEST(nobody is told to ask again at once for a long line without an end) {
  write(1, line("one") + std::string(500, 'x'));
  auto x = read({}, 100);
  auto y = read(x.to, 100);
  CAF_CHECK(!y.more);
  CAF_CHECK(y.to == x.to);
  write(1, fmt::format("\n{}", line("two")));
  y = read(x.to, 100);
  CAF_CHECK_EQUAL(y.skipped, 1u);
  CAF_CHECK(read(y.to, 100).texts == texts{"two"});
}

CAF_TEST(no file keeps a reader busy for ever) {
  // It has a size, and nothing is in it.
  write(1, "");
  fs::resize_file(segment(1), std::uintmax_t{1} << 40);
  auto x = read({}, 1'000);
  CAF_CHECK(x.more);
  CAF_CHECK(x.texts.empty());
  CAF_CHECK(x.to.offset > 0);
  CAF_CHECK(x.to.offset <= 64'000);
}

CAF_TEST(no number of files keeps a reader busy for ever) {
  for (std::uint64_t n = 1; n <= 1'500; ++n)
    write(n, "");
  write(1'501, line("one"));
  auto x = read();
  CAF_CHECK(x.more);
  CAF_CHECK((x.to == output_cursor{1'001, 0}));
  x = read(x.to);
  CAF_CHECK(!x.more);
  CAF_CHECK(x.texts == texts{"one"});
}

CAF_TEST(a long line at the end of a file is skipped with the file) {
  write(1, std::string(500, 'x'));
  write(2, line("two"));
  auto x = read({}, 100);
  CAF_CHECK_EQUAL(x.skipped, 1u);
  CAF_CHECK(x.more);
  CAF_CHECK(read(x.to, 100).texts == texts{"two"});
}

CAF_TEST(nothing but ordinary files of its own is read) {
  auto secret = folder / "secret";
  std::ofstream{secret} << line("secret");
  fs::create_symlink(secret, segment(1));
  CAF_CHECK_EQUAL(code(), errc::not_allowed);
  fs::remove(segment(1));
  fs::create_hard_link(secret, segment(1));
  CAF_CHECK_EQUAL(code(), errc::not_allowed);
  fs::remove(segment(1));
  CAF_REQUIRE_EQUAL(::mkfifo(segment(1).c_str(), 0600), 0);
  CAF_CHECK_EQUAL(code(), errc::not_allowed);
  fs::remove(segment(1));
  fs::create_directory(segment(1));
  CAF_CHECK_EQUAL(code(), errc::not_allowed);
  fs::remove(segment(1));
  // Nor is one that comes next.
  write(1, line("one"));
  fs::create_symlink(secret, segment(2));
  CAF_CHECK_EQUAL(code(), errc::not_allowed);
}

CAF_TEST(the folder of the output is no link) {
  fs::create_directory(folder / "other");
  std::ofstream{folder / "other" / output_file(1)} << line("secret");
  fs::remove_all(folder / "output");
  fs::create_directory_symlink(folder / "other", folder / "output");
  CAF_CHECK_EQUAL(code(), errc::not_allowed);
}

CAF_TEST(a file that has become shorter gives nothing) {
  write(1, line("one"));
  CAF_CHECK(read({1, 10'000}).texts.empty());
  CAF_CHECK((read({1, 10'000}).to == output_cursor{1, 10'000}));
}

CAF_TEST(the end of what was said is text) {
  CAF_CHECK_EQUAL(tail_of_output(folder, 10), "");
  std::ofstream{folder / pod_output_log}
    << "long before: \xC3\xA9t\xC3\xA9 \n\n";
  CAF_CHECK_EQUAL(tail_of_output(folder, 100),
                  "long before: \xC3\xA9t\xC3\xA9");
  // The first of its bytes would be half of a letter.
  CAF_CHECK_EQUAL(tail_of_output(folder, 7), "t\xC3\xA9");
  fs::remove(folder / pod_output_log);
  fs::create_symlink("/etc/passwd", folder / pod_output_log);
  CAF_CHECK_EQUAL(tail_of_output(folder, 100), "");
}

CAF_TEST_FIXTURE_SCOPE_END()
