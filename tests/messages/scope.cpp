// SPDX-License-Identifier: Apache-2.0

// Rules as they are written, and as they travel.

#define CAF_SUITE messages.scope

#include "messages/scope.hpp"

#include "tests/support/suite.hpp"

#include "messages/scope_json.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>

#include <algorithm>

using namespace muster;

namespace {

/// The rules of a list as they are written, with `|` in between; of one that is
/// refused its code.
std::string read(std::string_view text) {
  auto x = parse_scope(text);
  if (!x)
    return to_string(x.error().code);
  std::string out;
  for (auto& rule : x->allow) {
    out += out.empty() ? "" : "|";
    out += to_string(rule);
  }
  for (auto& rule : x->deny) {
    out += "|-";
    out += to_string(rule);
  }
  return out;
}

std::string message_of(std::string_view text) {
  auto x = parse_scope(text);
  CAF_REQUIRE(!x);
  return x.error().message;
}

/// Why a value is refused.
template <class F>
std::string refusal(F from, std::string_view text) {
  auto x = from(json::parse(text));
  CAF_REQUIRE(!x);
  CAF_CHECK_EQUAL(x.error().code, errc::invalid_argument);
  return x.error().message;
}

scope_listing some_listing() {
  scope_listing out;
  out.allocations = {{"a", "root", *parse_scope("w:/a,-r1:/a/b"), {}},
                     {"root", "", *parse_scope("w:/"), *parse_scope("w:/")}};
  out.loans = {{"l-1", "root", "a", {"/a", permission::write, true}}};
  return out;
}

} // namespace

// -- the command line ---------------------------------------------------------

CAF_TEST(the letter says the permission and a one that it is not recursive) {
  auto x = parse_rules("r:/a,w:/b,r1:/c,w1:/d");
  CAF_REQUIRE(x);
  CAF_REQUIRE_EQUAL(x->size(), 4u);
  CAF_CHECK(x->at(0) == (scope_rule{"/a", permission::read, true}));
  CAF_CHECK(x->at(1) == (scope_rule{"/b", permission::write, true}));
  CAF_CHECK(x->at(2) == (scope_rule{"/c", permission::read, false}));
  CAF_CHECK(x->at(3) == (scope_rule{"/d", permission::write, false}));
}

CAF_TEST(what is written is read again) {
  for (auto* text : {"r:/", "w:/a", "r1:/a b", "w1:/a:b", "w:/-", "w:/a|-r1:/a",
                     "r:/x|-w:/x|-r:/y"}) {
    std::string list{text};
    std::replace(list.begin(), list.end(), '|', ',');
    CAF_CHECK_EQUAL(read(list), text);
  }
}

CAF_TEST(a minus denies wherever it stands in the list) {
  auto x = parse_scope("-w1:/a/b,w:/a,-r:/a/c");
  CAF_REQUIRE(x);
  CAF_CHECK_EQUAL(x->allow.size(), 1u);
  CAF_REQUIRE_EQUAL(x->deny.size(), 2u);
  CAF_CHECK(x->deny[0] == (scope_rule{"/a/b", permission::write, false}));
  CAF_CHECK(x->deny[1] == (scope_rule{"/a/c", permission::read, true}));
}

CAF_TEST(denials are refused where none are possible and where they are all) {
  auto x = parse_rules("w:/a,-w1:/a/b");
  CAF_REQUIRE(!x);
  CAF_CHECK_EQUAL(x.error().code, errc::invalid_argument);
  CAF_CHECK(x.error().message.find("'-w1:/a/b'") != std::string::npos);
  CAF_CHECK_EQUAL(read("-w:/a"), "invalid_argument");
}

CAF_TEST(a comma separates only in front of a rule) {
  CAF_CHECK_EQUAL(read("r:/a,b,w:/c"), "r:/a,b|w:/c");
  CAF_CHECK_EQUAL(read("r:/a,,w:/c"), "r:/a,|w:/c");
  CAF_CHECK_EQUAL(read("r:/a,"), "r:/a,");
  CAF_CHECK_EQUAL(read("r:/a,r1,w:/c"), "r:/a,r1|w:/c");
  CAF_CHECK_EQUAL(read("r:/a,r2:/b"), "r:/a,r2:/b");
  CAF_CHECK_EQUAL(read("r:/a,rw:/b"), "r:/a,rw:/b");
  CAF_CHECK_EQUAL(read("r:/a,-w:/b"), "r:/a|-w:/b");
  CAF_CHECK_EQUAL(read("r:/a,--w:/b"), "r:/a,--w:/b");
  // What looks like a rule is never taken for a path.
  CAF_CHECK_EQUAL(read("r:/a,w:b"), "invalid_argument");
}

CAF_TEST(what is no rule is refused by its name) {
  for (auto [text, name] : std::vector<std::pair<std::string, std::string>>{
         {"", "no rule"},
         {"/a", "'/a'"},
         {",r:/a", "''"},
         {"x:/a", "'x:/a'"},
         {"r2:/a", "'r2:/a'"},
         {"rw:/a", "'rw:/a'"},
         {"R:/a", "'R:/a'"},
         {"r:", "'r:'"},
         {"w:/a,r1:", "'r1:'"},
         {"w:/a,-r1:", "'-r1:'"},
         {"r:a", "'r:a'"},
         {"w1:./a", "'w1:./a'"},
         {"r: /a", "'r: /a'"},
         {"w:~", "'w:~'"},
         {{"r:/a\0b", 6}, "'r:/a\\u0000b'"}}) {
    CAF_CHECK_EQUAL(read(text), "invalid_argument");
    CAF_CHECK(message_of(text).find(name) != std::string::npos);
  }
}

CAF_TEST(errors can be printed whatever the rule holds) {
  auto message = message_of("r:/\xFF\xFE");
  CAF_CHECK(is_utf8(message));
  CAF_CHECK(message.find("UTF-8") != std::string::npos);
  CAF_CHECK(is_utf8(message_of("x\xC3")));
}

CAF_TEST(a path has the length that the kernel allows) {
  CAF_CHECK_EQUAL(read("r:/" + std::string(max_target_bytes - 1, 'x')).size(),
                  max_target_bytes + 2);
  CAF_CHECK_EQUAL(read("r:/" + std::string(max_target_bytes, 'x')),
                  "too_large");
  CAF_CHECK_LESS(message_of("r:/" + std::string(9'999, 'x')).size(), 400u);
}

CAF_TEST(a permission that there is not is refused) {
  scope_rule x{"/a", static_cast<permission>(0), true};
  CAF_CHECK_EQUAL(check_rule(x).error().code, errc::invalid_argument);
  x.level = static_cast<permission>(3);
  CAF_CHECK_EQUAL(check_rule(x).error().code, errc::invalid_argument);
  CAF_CHECK_EQUAL(to_string(x.level), "unknown");
  x.level = permission::write;
  CAF_CHECK(check_rule(x));
}

// -- JSON ---------------------------------------------------------------------

CAF_TEST(a rule in JSON is what the seed writes) {
  scope_rule x{"/a", permission::write, false};
  CAF_CHECK_EQUAL(rule_json(x).dump(),
                  R"({"permission":"write","recursive":false,"target":"/a"})");
  CAF_CHECK(*rule_from(rule_json(x)) == x);
}

CAF_TEST(a rule is recursive unless it says otherwise) {
  auto x = rule_from(json::parse(R"({"target":"/a","permission":"read"})"));
  CAF_REQUIRE(x);
  CAF_CHECK(*x == (scope_rule{"/a", permission::read, true}));
}

CAF_TEST(a rule that is malformed is refused by what it lacks) {
  for (auto [text, name] : std::vector<std::pair<std::string, std::string>>{
         {R"("r:/a")", "no object"},
         {R"({"permission":"read"})", "'target'"},
         {R"({"target":7,"permission":"read"})", "'target'"},
         {R"({"target":"","permission":"read"})", "'target'"},
         {R"({"target":"a","permission":"read"})", "relative"},
         {R"({"target":"/a\u0000","permission":"read"})", "zero byte"},
         {R"({"target":"/a"})", "'permission'"},
         {R"({"target":"/a","permission":"Read"})", "'permission'"},
         {R"({"target":"/a","permission":1})", "'permission'"},
         {R"({"target":"/a","permission":"read","recursive":1})",
          "'recursive'"}})
    CAF_CHECK(refusal(rule_from, text).find(name) != std::string::npos);
  CAF_CHECK(refusal(rules_from, "{}").find("no list") != std::string::npos);
  CAF_CHECK(refusal(scope_from, "[]").find("no object") != std::string::npos);
}

CAF_TEST(a listing is read as it was written) {
  auto x = some_listing();
  auto text = listing_json(x).dump();
  auto again = listing_from(json::parse(text));
  CAF_REQUIRE(again);
  CAF_CHECK(*again == x);
  CAF_CHECK_EQUAL(
    listing_json(x)["loans"].dump(),
    R"([{"borrower":"a","id":"l-1","lender":"root","rule":{"permission":)"
    R"("write","recursive":true,"target":"/a"}}])");
  CAF_CHECK(listing_json(x)["allocations"][1]["lender"].is_null());
  CAF_CHECK(*listing_from(json::object()) == scope_listing{});
}

CAF_TEST(a listing that is malformed is refused by the place) {
  for (auto [text, name] : std::vector<std::pair<std::string, std::string>>{
         {"[]", "no object"},
         {R"({"allocations":1})", "no list"},
         {R"({"allocations":[1]})", "allocation"},
         {R"({"allocations":[{"own":{},"delegation":{}}]})", "'name'"},
         {R"({"allocations":[{"name":"a","delegation":{}}]})", "scope"},
         {R"({"allocations":[{"name":"a","own":{}}]})", "scope"},
         {R"({"allocations":[{"name":"a","own":{},"delegation":{},)"
          R"("lender":1}]})",
          "'lender'"},
         {R"({"loans":[{"id":"l","lender":"a","borrower":"b"}]})", "rule"},
         {R"({"loans":[{"lender":"a","borrower":"b"}]})", "'id'"}})
    CAF_CHECK(refusal(listing_from, text).find(name) != std::string::npos);
}

// -- the wire -----------------------------------------------------------------

CAF_TEST(a listing travels with all its fields) {
  auto x = some_listing();
  std::vector<char> bytes;
  auto* nobody = static_cast<caf::execution_unit*>(nullptr);
  caf::binary_serializer sink{nobody, bytes};
  CAF_REQUIRE(!sink(x));
  scope_listing again;
  caf::binary_deserializer source{nobody, bytes};
  CAF_REQUIRE(!source(again));
  CAF_CHECK(again == x);
}
