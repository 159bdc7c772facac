// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pod.protocol

#include "actors/pod/pod_protocol.hpp"

#include "tests/support/suite.hpp"

#include <fstream>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

using namespace muster;
using namespace muster::pod;

namespace {

/// What documentation shows, one frame a line.
std::vector<std::string> known_frames() {
  std::vector<std::string> out;
  std::ifstream in{MUSTER_TEST_DIR "/pod/frames.jsonl"};
  for (std::string line; std::getline(in, line);)
    out.push_back(line);
  return out;
}

bool is_method(std::string_view frame) {
  return frame.find("\"method\":") != std::string_view::npos;
}

/// Reads a frame and writes it again; what is wrong with it otherwise.
std::string again(const std::string& frame) {
  if (is_method(frame)) {
    auto read = decode_method(frame);
    return read ? encode(*read) : read.error().message;
  }
  auto read = decode_event(frame);
  return read ? encode(*read) : read.error().message;
}

template <class T>
T sent(const T& x) {
  if constexpr (std::is_constructible_v<to_pod, T>)
    return std::get<T>(decode_method(encode(to_pod{x})).value());
  else
    return std::get<T>(decode_event(encode(from_pod{x})).value());
}

const std::string odd_text = "a \"b\"\n\t\\ ü \xF0\x9F\x90\x8C";

} // namespace

CAF_TEST(every kind of frame is known and reads back as it was written) {
  std::set<std::size_t> methods, events;
  for (auto& frame : known_frames()) {
    CAF_CHECK_EQUAL(again(frame), frame);
    if (is_method(frame))
      methods.insert(decode_method(frame)->index());
    else
      events.insert(decode_event(frame)->index());
  }
  CAF_CHECK_EQUAL(methods.size(), std::variant_size_v<to_pod>);
  // But for what is not known.
  CAF_CHECK_EQUAL(events.size() + 1, std::variant_size_v<from_pod>);
}

CAF_TEST(methods arrive with every field) {
  CAF_CHECK_EQUAL(sent(ping{~0ull}).id, ~0ull);
  auto turn = sent(run{"r", odd_text});
  CAF_CHECK_EQUAL(turn.id, "r");
  CAF_CHECK_EQUAL(turn.text, odd_text);
  auto note = sent(notify{2, odd_text});
  CAF_CHECK_EQUAL(note.id, 2u);
  CAF_CHECK_EQUAL(note.message, odd_text);
  for (auto& message : {odd_text, std::string{}}) {
    auto what = sent(pod_event{3, "shut_down", "p", message});
    CAF_CHECK_EQUAL(what.id, 3u);
    CAF_CHECK_EQUAL(what.kind, "shut_down");
    CAF_CHECK_EQUAL(what.pod_name, "p");
    CAF_CHECK_EQUAL(what.message, message);
  }
  CAF_CHECK_EQUAL(sent(confirm{4}).id, 4u);
  for (auto& value : {json{{"a", 1}}, json{nullptr}, json{false}}) {
    auto reply = sent(result{"q", value});
    CAF_CHECK_EQUAL(reply.id, "q");
    CAF_CHECK(reply.value == value);
  }
  auto refused = sent(result{"q", fail(errc::not_found, odd_text)});
  CAF_REQUIRE(!refused.value);
  CAF_CHECK_EQUAL(refused.value.error().message, odd_text);
  sent(pod::shutdown{});
}

CAF_TEST(events arrive with every field) {
  auto hello = sent(snapshot{"p", 9});
  CAF_CHECK_EQUAL(hello.pod_name, "p");
  CAF_CHECK_EQUAL(hello.protocol, 9u);
  CAF_CHECK_EQUAL(sent(pong{1}).id, 1u);
  auto begun = sent(turn_start{"r", 2});
  CAF_CHECK_EQUAL(begun.run, "r");
  CAF_CHECK_EQUAL(begun.turn, 2u);
  auto refused = sent(run_error{"r", "already_running", odd_text});
  CAF_CHECK_EQUAL(refused.run, "r");
  CAF_CHECK_EQUAL(refused.code, "already_running");
  CAF_CHECK_EQUAL(refused.message, odd_text);
  auto ended = sent(turn_ended{3, 4});
  CAF_CHECK_EQUAL(ended.id, 3u);
  CAF_CHECK_EQUAL(ended.turn, 4u);
  auto failed = sent(errored{5, odd_text});
  CAF_CHECK_EQUAL(failed.id, 5u);
  CAF_CHECK_EQUAL(failed.message, odd_text);
  CAF_CHECK_EQUAL(sent(ack{6}).id, 6u);
  auto asks = sent(request{"q", "spawn", {{"name", odd_text}}});
  CAF_CHECK_EQUAL(asks.id, "q");
  CAF_CHECK_EQUAL(asks.verb, "spawn");
  CAF_CHECK(asks.params == json({{"name", odd_text}}));
  sent(other{});
}

CAF_TEST(fields that are not known are left alone) {
  for (auto& frame : known_frames()) {
    auto more = json::parse(frame);
    more["future"] = {{"a", json::array({1, nullptr})}};
    if (auto* body = is_method(frame) ? "params" : "data"; more.contains(body))
      more[body]["future"] = 1;
    CAF_CHECK_EQUAL(again(more.dump()), frame);
  }
}

CAF_TEST(a field that is missing or of another kind is named) {
  // These may be absent.
  const std::set<std::string> optional{
    "run id",        "error run",       "pod_event message",
    "error message", "errored message", "request params"};
  for (auto& frame : known_frames()) {
    const auto whole = json::parse(frame);
    auto* body = is_method(frame) ? "params" : "data";
    auto name = whole.value(is_method(frame) ? "method" : "event", "");
    // A result has either of two, see below.
    if (!whole.contains(body) || name == "result")
      continue;
    for (auto& [key, value] : whole[body].items()) {
      auto changed = whole;
      changed[body].erase(key);
      auto is_named = [&, field = "'" + key + "'"] {
        return again(changed.dump()).find(field) != std::string::npos;
      };
      CAF_CHECK_EQUAL(is_named(), !optional.contains(name + " " + key));
      changed[body][key] = 1.5;
      CAF_CHECK(is_named());
    }
  }
}

CAF_TEST(the segments of a run are one text) {
  auto text_of = [](const char* input) {
    auto read = decode_method(std::string{R"({"method":"run","params":)"}
                              + R"({"input":)" + input + "}}");
    return read ? std::get<run>(*read).text : read.error().message;
  };
  CAF_CHECK_EQUAL(text_of("[]"), "");
  CAF_CHECK_EQUAL(text_of(R"([{"kind":"text","content":"a"},{"kind":"image"},)"
                          R"({"kind":"text","content":"b"},7])"),
                  "a\nb");
  CAF_CHECK_EQUAL(text_of(R"([{"kind":"text","content":7}])"),
                  "the frame 'run' of a pod has no 'content' that is a text");
  CAF_CHECK_EQUAL(text_of("{}"), "the frame 'run' of a pod has no 'input' that "
                                 "is a list of segments");
}

CAF_TEST(what is no frame is refused with its cause) {
  using row = std::pair<const char*, const char*>;
  for (auto& [frame, why] :
       {row{"", "the frame of a pod is not JSON: it breaks at byte 1"},
        row{"[]", "the frame of a pod has no 'method' that is a text"},
        row{R"({"method":7})",
            "the frame of a pod has no 'method' that is a text"},
        row{R"({"method":"dance"})", "there is no method 'dance'"},
        row{R"({"method":"ping","params":[]})",
            "the 'params' of the frame 'ping' of a pod is no object"},
        row{R"({"method":"ping"})", "the frame 'ping' of a pod has no 'id' "
                                    "that is a number that is not negative"},
        row{R"({"method":"ping","params":{"id":-1}})",
            "the frame 'ping' of a pod has no 'id' that is a number that is "
            "not negative"},
        row{R"({"method":"result","params":{"id":"q"}})",
            "the frame 'result' of a pod has no 'value' that is anything"}}) {
    auto read = decode_method(frame);
    CAF_REQUIRE(!read);
    CAF_CHECK_EQUAL(read.error().code, errc::invalid_argument);
    CAF_CHECK_EQUAL(read.error().message, why);
  }
  auto read = decode_event(R"({"event":"ack","data":7})");
  CAF_REQUIRE(!read);
  CAF_CHECK_EQUAL(read.error().message,
                  "the 'data' of the frame 'ack' of a pod is no object");
}

CAF_TEST(the error of a result may be anything) {
  auto error_of = [](const char* error) {
    auto read
      = decode_method(std::string{R"({"method":"result","params":{"id":"q",)"}
                      + R"("error":)" + error + "}}");
    return std::get<result>(read.value()).value.error();
  };
  CAF_CHECK(error_of(R"({"code":"not_found","message":"no"})")
            == (failure{errc::not_found, "no"}));
  CAF_CHECK(error_of(R"({"code":"odd"})") == (failure{errc::internal, ""}));
  CAF_CHECK(error_of(R"({"code":7,"message":7})")
            == (failure{errc::internal, ""}));
}

CAF_TEST(an event that is not known is one that changes nothing) {
  auto read = decode_event(R"({"event":"dance","data":{"x":1}})");
  CAF_REQUIRE(read);
  CAF_CHECK(std::holds_alternative<other>(*read));
}

CAF_TEST(no bytes whatever make a reader throw) {
  std::mt19937 random{4'711};
  auto frames = known_frames();
  frames.push_back("");
  for (int i = 0; i < 20'000; ++i) {
    auto frame = frames[random() % frames.size()];
    for (auto changes = random() % 8; changes-- > 0;) {
      auto at = random() % (frame.size() + 1);
      auto byte = static_cast<char>(
        random() % 2 == 0 ? random() : R"({}[]",:0-9.etfn\u)"[random() % 17]);
      switch (random() % 3) {
        case 0:
          frame.insert(at, 1, byte);
          break;
        case 1:
          frame.erase(at, random() % 20);
          break;
        default:
          if (at < frame.size())
            frame[at] = byte;
      }
    }
    std::ignore = decode_method(frame);
    std::ignore = decode_event(frame);
  }
  std::ignore = decode_method(std::string(1'000'000, '['));
}
