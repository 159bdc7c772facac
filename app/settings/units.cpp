// SPDX-License-Identifier: Apache-2.0

#include "app/settings/units.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace muster {

namespace {

struct unit {
  std::string_view name;
  std::uint64_t factor;
};

// The largest first: a value is shown in the first that divides it.
constexpr std::array<unit, 5> times{{{"d", 86'400'000},
                                     {"h", 3'600'000},
                                     {"m", 60'000},
                                     {"s", 1'000},
                                     {"ms", 1}}};

constexpr std::array<unit, 4> sizes{
  {{"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"", 1}}};

template <std::size_t N>
expected<std::uint64_t> parse(std::string_view text,
                              const std::array<unit, N>& units,
                              std::string_view what) {
  std::uint64_t number = 0;
  auto end = text.data() + text.size();
  auto [rest, code] = std::from_chars(text.data(), end, number);
  std::string_view suffix{rest, static_cast<std::size_t>(end - rest)};
  if (code == std::errc{})
    for (auto& u : units)
      if (u.name == suffix) {
        if (number > std::numeric_limits<std::int64_t>::max() / u.factor)
          return fail(errc::invalid_argument,
                      fmt::format("'{}' is too large", text));
        return number * u.factor;
      }
  return fail(errc::invalid_argument,
              fmt::format("'{}' is not {}", text, what));
}

template <std::size_t N>
std::string show(std::uint64_t value, const std::array<unit, N>& units) {
  for (auto& u : units)
    if (value >= u.factor && value % u.factor == 0)
      return fmt::format("{}{}", value / u.factor, u.name);
  return fmt::format("0{}", units.back().name);
}

} // namespace

expected<std::chrono::milliseconds> parse_duration(std::string_view text) {
  return parse(text, times, "a duration such as 500ms, 20s, 5m, 3h or 7d")
    .map([](std::uint64_t ms) {
      return std::chrono::milliseconds{static_cast<std::int64_t>(ms)};
    });
}

std::string show_duration(std::chrono::milliseconds duration) {
  return show(static_cast<std::uint64_t>(duration.count()), times);
}

expected<std::uint64_t> parse_size(std::string_view text) {
  return parse(text, sizes, "a size such as 4096, 64KiB or 16MiB");
}

std::string show_size(std::uint64_t bytes) {
  return show(bytes, sizes);
}

expected<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t number = 0;
  auto end = text.data() + text.size();
  auto [rest, code] = std::from_chars(text.data(), end, number);
  if (code != std::errc{} || rest != end)
    return fail(errc::invalid_argument,
                fmt::format("'{}' is not a whole number", text));
  return number;
}

} // namespace muster
