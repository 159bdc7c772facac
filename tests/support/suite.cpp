// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE support

#include "tests/support/suite.hpp"

namespace muster::test {

using caf::term;
using caf::test::engine;

bool count_check(bool is_fine, const check_site& site,
                 const std::string& values) {
  auto* current = engine::current_test();
  if (is_fine) {
    current->pass();
  } else {
    current->fail(false);
    auto out = caf::test::logger::instance().error();
    out << term::red << "!! " << term::blue << site.file << term::yellow << ":"
        << term::blue << site.line << term::reset << " " << site.text;
    if (!values.empty())
      out << ": " << values;
    out << "\n";
  }
  engine::last_check_file(site.file);
  engine::last_check_line(site.line);
  return is_fine;
}

} // namespace muster::test
