// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"
#include "messages/json.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace muster {

/// Reads the fields of one entry, and remembers the first that is wrong.
class entry_reader {
public:
  explicit entry_reader(const json& entry) : rest_(entry) {
    // nop
  }

  std::string text(const char* name) {
    auto value = take(name);
    if (value.is_string() && !value.get_ref<const std::string&>().empty())
      return value.get<std::string>();
    note(name);
    return {};
  }

  std::string text_or_none(const char* name) {
    auto value = take(name);
    if (!value.is_null() && !value.is_string())
      note(name);
    return value.is_string() ? value.get<std::string>() : std::string{};
  }

  bool flag(const char* name) {
    auto value = take(name);
    if (!value.is_boolean())
      note(name);
    return value.is_boolean() && value.get<bool>();
  }

  /// 0 if there is none.
  std::uint64_t count(const char* name) {
    auto value = take(name);
    if (!value.is_null() && !value.is_number_unsigned())
      note(name);
    return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
  }

  json number(const char* name) {
    auto value = take(name);
    if (!value.is_number_integer())
      note(name);
    return value;
  }

  json take(const char* name) {
    auto i = rest_.find(name);
    if (i == rest_.end())
      return {};
    auto value = std::move(*i);
    rest_.erase(i);
    return value;
  }

  void note(const char* name) {
    if (wrong_.empty())
      wrong_ = name;
  }

  [[nodiscard]] const std::string& wrong() const {
    return wrong_;
  }

  /// The fields that nobody took.
  [[nodiscard]] json rest() {
    return std::move(rest_);
  }

private:
  json rest_;
  std::string wrong_;
};

/// Refuses a document that cannot be read; a node keeps a copy of it beside it.
/// @returns `registry_corrupted`.
inline tl::unexpected<failure> damaged_document(std::string_view path,
                                                std::string_view why) {
  return fail(errc::registry_corrupted,
              fmt::format("'{}' is damaged: {}; it is left as it is, and a "
                          "node keeps a copy, '{}.broken'",
                          path, why, path));
}

} // namespace muster
