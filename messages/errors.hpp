// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <tl/expected.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// Every way in which a request can be refused. The numbers travel between
/// nodes: append, never renumber. What each one means, its exit code and its
/// name in JSON stand in one table, see `describe`.
enum class errc : std::uint8_t {
  not_found = 1,
  ambiguous,
  invalid_argument,
  invalid_spec,
  too_large,
  not_utf8,
  busy,
  finished,
  already_answered,
  already_cancelled,
  in_use,
  overloaded,
  conflict,
  unreachable,
  connection_lost,
  version_mismatch,
  not_allowed,
  timeout,
  storage_full,
  storage_failed,
  read_only,
  registry_corrupted,
  newer_format,
  shutting_down,
  program_failed,
  internal,
  bad_certificate,
};

/// What the table of error codes says about one of them.
struct errc_description {
  /// The code itself.
  errc code;
  /// Its name in JSON (`{"error":{"code": ...}}`) and in the log.
  std::string_view name;
  /// What `muster` exits with when a command ends in this error.
  int exit_code;
  /// What it means, one sentence.
  std::string_view meaning;
};

/// All error codes in the order of their numbers.
[[nodiscard]] const std::vector<errc_description>& all_errors();

/// What the table says about `code`; an unknown number reads as `internal`.
[[nodiscard]] const errc_description& describe(errc code);

/// The stable name of `code`, such as `not_found`.
[[nodiscard]] std::string to_string(errc code);

/// Why something was refused: the code for programs, one sentence for people.
/// The sentence names the cause and the object, and where there is one, the
/// next thing to try.
struct failure {
  errc code = errc::internal;
  std::string message;

  friend bool operator==(const failure&, const failure&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, failure& x) {
  return f(x.code, x.message);
}

/// A value, or why there is none.
template <class T>
using expected = tl::expected<T, failure>;

/// Makes the error half of an `expected`.
[[nodiscard]] inline tl::unexpected<failure> fail(errc code,
                                                  std::string message) {
  return tl::unexpected<failure>{failure{code, std::move(message)}};
}

} // namespace muster
