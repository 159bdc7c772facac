// SPDX-License-Identifier: Apache-2.0

#include "actors/persistence/log_check.hpp"

#include <optional>
#include <string_view>

namespace muster::sqlite {

namespace {

// The format is documented: https://www.sqlite.org/fileformat2.html#walformat
constexpr std::size_t header_size = 32;
constexpr std::size_t frame_header_size = 24;
constexpr std::uint32_t magic = 0x377f0682;

std::uint32_t number(std::string_view bytes, std::size_t at, bool big_endian) {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i < 4; ++i)
    out = out << 8
          | static_cast<unsigned char>(bytes[at + (big_endian ? i : 3 - i)]);
  return out;
}

/// What a frame or the header sums up to, together with all before it.
struct sums {
  std::uint32_t first = 0;
  std::uint32_t second = 0;

  void add(std::string_view bytes, bool big_endian) {
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      first += number(bytes, at, big_endian) + second;
      second += number(bytes, at + 4, big_endian) + first;
    }
  }

  friend bool operator==(const sums&, const sums&) = default;
};

sums stored_sums(std::string_view bytes, std::size_t at) {
  return {number(bytes, at, true), number(bytes, at + 4, true)};
}

/// The frame of one page.
struct frame {
  std::string bytes;

  [[nodiscard]] std::uint32_t page() const {
    return number(bytes, 0, true);
  }

  /// Whether it is the last one of a commit.
  [[nodiscard]] bool ends_commit() const {
    return number(bytes, 4, true) != 0;
  }

  /// Differs from one use of the log to the next.
  [[nodiscard]] std::string_view salt() const {
    return std::string_view{bytes}.substr(8, 8);
  }

  [[nodiscard]] sums stored() const {
    return stored_sums(bytes, 16);
  }

  [[nodiscard]] std::string_view content() const {
    return std::string_view{bytes}.substr(frame_header_size);
  }

  /// Whether it was written behind what sums up to this.
  [[nodiscard]] bool follows(sums before, bool big_endian) const {
    before.add(std::string_view{bytes}.substr(0, 8), big_endian);
    before.add(content(), big_endian);
    return before == stored();
  }
};

} // namespace

bool has_lost_commits(const reader& log, const reader& base) {
  auto header = log(0, header_size);
  auto size = base(16, 2);
  if (header.size() < header_size || size.size() < 2)
    return false;
  // It is the log that may be damaged, so the database says how large a page
  // is. The largest size has one bit too many for its place.
  auto page_size = number(std::string(2, '\0') + size, 0, true);
  if (page_size == 1)
    page_size = 65'536;
  if (page_size < 512)
    return false;
  auto frame_size = frame_header_size + page_size;
  auto big_endian = number(header, 0, true) == (magic | 1);
  sums all;
  all.add(std::string_view{header}.substr(0, 24), big_endian);
  auto is_header_sound = all == stored_sums(header, 24);
  auto salt = header.substr(16, 8);
  auto can_be_read = is_header_sound;
  auto was_lost = false;
  std::optional<frame> before;
  std::optional<frame> last_commit;
  for (std::uint64_t at = header_size;; at += frame_size) {
    frame next{log(at, frame_size)};
    if (next.bytes.size() < frame_size)
      break;
    if (!before && !is_header_sound)
      salt = next.salt();
    auto follows = next.salt() == salt
                   && next.follows(before ? before->stored() : all, big_endian);
    was_lost = was_lost
               || (follows && !can_be_read && before && before->ends_commit());
    can_be_read = can_be_read && follows;
    if (follows && next.ends_commit())
      last_commit = next;
    before = std::move(next);
  }
  if (!was_lost || !last_commit)
    return false;
  // A log is used anew from its beginning, once everything in it is in the
  // database. A loss of power in the middle of that has lost nothing.
  auto place = std::uint64_t{last_commit->page() - 1} * page_size;
  return base(place, page_size) != last_commit->content();
}

} // namespace muster::sqlite
