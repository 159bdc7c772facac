// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace muster {

/// Hashes everything that a script does, so that two runs which differ can be
/// told apart at the first pause behind the difference.
class running_digest {
public:
  // -- constructors -----------------------------------------------------------

  running_digest();

  // -- modifiers --------------------------------------------------------------

  /// Adds something that the script did. The length of each part is hashed with
  /// it, so that ("a", "bc") and ("ab", "c") differ.
  void add(std::string_view what, std::string_view text);

  /// Closes what was added so far and gives the hash over all of it, which the
  /// next link of the chain begins with.
  [[nodiscard]] std::string link();

private:
  // -- member variables -------------------------------------------------------

  struct free_context {
    void operator()(evp_md_ctx_st* context) const;
  };

  std::unique_ptr<evp_md_ctx_st, free_context> context_;
};

} // namespace muster
