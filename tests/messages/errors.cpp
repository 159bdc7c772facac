// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE messages.errors

#include "messages/errors.hpp"

#include "tests/support/suite.hpp"

#include "messages/actors.hpp"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <set>

using namespace muster;

CAF_TEST(every error has a name of its own and an exit code from the list) {
  std::set<std::string_view> names;
  std::uint8_t number = 0;
  for (auto& row : all_errors()) {
    // The numbers travel: they have no gaps and no other order.
    CAF_CHECK_EQUAL(static_cast<std::uint8_t>(row.code), ++number);
    CAF_CHECK(names.insert(row.name).second);
    CAF_CHECK(row.exit_code >= 1 && row.exit_code <= 8);
    CAF_CHECK(!row.meaning.empty());
    CAF_CHECK_EQUAL(to_string(row.code), row.name);
  }
  CAF_CHECK_EQUAL(to_string(static_cast<errc>(250)), "internal");
}

CAF_TEST(the table of errors in the documentation is that of the code) {
  std::ifstream in{MUSTER_TEST_DIR "/../docs/cli.md"};
  std::string page{std::istreambuf_iterator<char>{in}, {}};
  std::size_t position = 0;
  for (auto& row : all_errors()) {
    auto line = fmt::format("\n| `{}` | {} | {} |\n", row.name, row.exit_code,
                            row.meaning);
    auto found = page.find(line, position);
    if (found == std::string::npos)
      CAF_FAIL("docs/cli.md lacks, or has in another place: " << line);
    // The newline at its end begins the next one.
    position = found + line.size() - 1;
  }
  CAF_CHECK_EQUAL(page.substr(position, 2), "\n\n");
}

CAF_TEST(exit codes are those that scripts rely on) {
  auto exit_code = [](errc code) { return describe(code).exit_code; };
  CAF_CHECK_EQUAL(exit_code(errc::internal), 1);
  CAF_CHECK_EQUAL(exit_code(errc::invalid_argument), 2);
  CAF_CHECK_EQUAL(exit_code(errc::not_found), 3);
  CAF_CHECK_EQUAL(exit_code(errc::unreachable), 4);
  CAF_CHECK_EQUAL(exit_code(errc::not_allowed), 5);
  for (auto code :
       {errc::busy, errc::already_answered, errc::finished, errc::in_use})
    CAF_CHECK_EQUAL(exit_code(code), 6);
  CAF_CHECK_EQUAL(exit_code(errc::timeout), 7);
  for (auto code : {errc::storage_full, errc::registry_corrupted,
                    errc::newer_format, errc::read_only})
    CAF_CHECK_EQUAL(exit_code(code), 8);
}

CAF_TEST(an error comes through an actor as it was) {
  failure before{errc::already_answered, "already responded to query_id: q-0"};
  CAF_CHECK_EQUAL(from_caf(to_caf(before)), before);
  CAF_CHECK_EQUAL(from_caf(caf::sec::request_timeout).code, errc::timeout);
  CAF_CHECK_EQUAL(from_caf(caf::sec::request_receiver_down).code,
                  errc::connection_lost);
  CAF_CHECK_EQUAL(from_caf(caf::sec::runtime_error).code, errc::internal);
}
