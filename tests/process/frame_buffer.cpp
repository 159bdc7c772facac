// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.frame_buffer

#include "actors/process/frame_buffer.hpp"

#include "tests/support/suite.hpp"

#include <algorithm>
#include <vector>

using namespace muster;
using namespace std::string_literals;

namespace {

using frames = std::vector<std::string>;

/// All frames that are whole.
frames take(frame_buffer& from) {
  frames out;
  for (;;) {
    auto frame = from.next();
    if (!frame)
      CAF_FAIL("no frame: " << frame.error().message);
    if (!*frame)
      return out;
    out.push_back(std::move(**frame));
  }
}

/// What comes of bytes that are read at once.
frames taken_apart(const std::string& bytes) {
  frame_buffer in{100};
  in.append(bytes);
  return take(in);
}

} // namespace

CAF_TEST(frames are whole wherever the bytes are cut) {
  auto bytes = "one\n\ntwo \xC3\xA9\r\n\0\n\nlast"s;
  frames all{"one", "", "two \xC3\xA9\r", "\0"s, ""};
  for (std::size_t first = 0; first <= bytes.size(); ++first) {
    for (auto second = first; second <= bytes.size(); ++second) {
      frame_buffer in{100};
      frames out;
      for (auto piece :
           {bytes.substr(0, first), bytes.substr(first, second - first),
            bytes.substr(second)}) {
        in.append(piece);
        for (auto& frame : take(in))
          out.push_back(frame);
      }
      CAF_REQUIRE(out == all);
      CAF_REQUIRE(in.is_inside());
      in.append("\n");
      CAF_REQUIRE(take(in) == frames{"last"});
      CAF_REQUIRE(!in.is_inside());
    }
  }
}

CAF_TEST(nothing but an end of line ends a frame) {
  CAF_CHECK(taken_apart("").empty());
  CAF_CHECK(taken_apart("\r").empty());
  CAF_CHECK(taken_apart("a\r\nb\n") == (frames{"a\r", "b"}));
  CAF_CHECK(taken_apart("\n\n") == (frames{"", ""}));
  CAF_CHECK(taken_apart("a\0b\n"s) == frames{"a\0b"s});
}

CAF_TEST(a frame is as long as the limit and no longer) {
  for (auto end : {"", "\n", "\nmore\n"}) {
    frame_buffer in{4};
    in.append("1234\n1234"s);
    CAF_CHECK(take(in) == frames{"1234"});
    in.append("5"s + end);
    CAF_CHECK_EQUAL(in.next().error().code, errc::too_large);
    CAF_CHECK_EQUAL(in.next().error().message,
                    "sent a frame of more than 4 bytes");
  }
}

CAF_TEST(what stands before a frame that is too long is taken) {
  frame_buffer in{4};
  in.append("a\nb\n12345");
  CAF_CHECK_EQUAL(**in.next(), "a");
  CAF_CHECK_EQUAL(**in.next(), "b");
  CAF_CHECK_EQUAL(in.next().error().code, errc::too_large);
}

CAF_TEST(a frame of nothing is within a limit of nothing) {
  frame_buffer in{0};
  in.append("\n");
  CAF_CHECK(take(in) == frames{""});
  in.append("x");
  CAF_CHECK_EQUAL(in.next().error().code, errc::too_large);
}

CAF_TEST(what is not UTF - 8 is no frame) {
  for (auto bytes : {"\xFF\n", "\xC3\n\xA9\n", "\xED\xA0\x80\n"}) {
    frame_buffer in{100};
    in.append("fine\n"s + bytes);
    CAF_CHECK_EQUAL(**in.next(), "fine");
    CAF_CHECK_EQUAL(in.next().error().code, errc::not_utf8);
    in.append("fine\n");
    CAF_CHECK_EQUAL(in.next().error().code, errc::not_utf8);
  }
}

CAF_TEST(large frames come in small pieces) {
  std::string large(3'000'000, 'x');
  frame_buffer in{large.size()};
  for (int i = 0; i < 2; ++i) {
    for (std::size_t at = 0; at < large.size(); at += 1'000) {
      in.append(std::string_view{large}.substr(at, 1'000));
      CAF_REQUIRE(take(in).empty());
    }
    in.append(i == 0 ? "\n" : "\nnext");
    CAF_CHECK(take(in) == frames{large});
  }
  in.append("\n");
  CAF_CHECK(take(in) == frames{"next"});
}

CAF_TEST(a frame becomes a line) {
  CAF_CHECK_EQUAL(*to_line("1234", 4), "1234\n");
  CAF_CHECK_EQUAL(*to_line("", 0), "\n");
  CAF_CHECK_EQUAL(to_line("12345", 4).error().code, errc::too_large);
  CAF_CHECK_EQUAL(to_line("a\nb", 4).error().code, errc::invalid_argument);
}

CAF_TEST(lines wait in order and up to a limit) {
  line_queue out{10};
  CAF_CHECK(out.empty());
  CAF_CHECK_EQUAL(out.front(), "");
  CAF_CHECK(out.push("1234\n"));
  CAF_CHECK(out.push("567\n"));
  CAF_CHECK(out.push("\n"));
  CAF_CHECK_EQUAL(out.push("\n").error().code, errc::overloaded);
  out.pop(2);
  CAF_CHECK_EQUAL(out.front(), "34\n");
  CAF_CHECK(out.push("8\n"));
  CAF_CHECK_EQUAL(out.push("\n").error().message,
                  "10 bytes wait to be sent, where 10 are the limit");
  std::string rest;
  while (!out.empty()) {
    rest += out.front().front();
    out.pop(1);
  }
  CAF_CHECK_EQUAL(rest, "34\n567\n\n8\n");
  CAF_CHECK(out.push("123456789\n"));
}
