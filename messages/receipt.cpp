// SPDX-License-Identifier: Apache-2.0

#include "messages/receipt.hpp"

#include "messages/hash.hpp"
#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace muster {

namespace {

constexpr std::size_t max_request_id_bytes = 128;

/// Collects what a digest is about. Each part says how long it is, so that two
/// requests of different parts never read the same.
class parts {
public:
  explicit parts(std::string_view verb) {
    add(verb);
  }

  void add(std::string_view text) {
    all_ += fmt::format("{}:", text.size());
    all_ += text;
  }

  void add(std::uint64_t number) {
    add(std::to_string(number));
  }

  template <class T>
  void add(const std::optional<T>& x) {
    add(x ? "+" : "-");
    if (x)
      add(*x);
  }

  [[nodiscard]] std::string digest() const {
    return sha256(all_);
  }

private:
  std::string all_;
};

} // namespace

std::string make_request_id(std::int64_t now_ms, const random_bits& random) {
  return fmt::format("r-{:x}-{:016x}{:016x}",
                     static_cast<std::uint64_t>(now_ms), random[0], random[1]);
}

std::optional<failure> check_request_id(const std::string& id) {
  if (id.size() > max_request_id_bytes)
    return failure{errc::too_large,
                   fmt::format("the request id has {} bytes, more than {}",
                               id.size(), max_request_id_bytes)};
  if (!std::all_of(id.begin(), id.end(),
                   [](char c) { return c >= '!' && c <= '~'; }))
    return failure{errc::invalid_argument,
                   "a request id has printable ASCII only, and no blanks"};
  return std::nullopt;
}

std::string digest_of(const session_spec& spec) {
  parts all{"spawn"};
  all.add(static_cast<std::uint64_t>(spec.kind));
  for (auto* text : {&spec.code, &spec.name, &spec.strategy, &spec.ctx})
    all.add(*text);
  all.add(spec.task);
  for (auto& folder : spec.packages)
    all.add(folder);
  // Receipts of versions that had no workers are still good.
  if (spec.isolation != session_isolation::node)
    all.add(static_cast<std::uint64_t>(spec.isolation));
  return all.digest();
}

std::string digest_of(const std::string& id,
                      const std::vector<answer>& answers) {
  parts all{"feed"};
  all.add(id);
  for (auto& a : answers) {
    all.add(a.query_id);
    all.add(a.response);
    all.add(a.usage ? a.usage->prompt_tokens : std::nullopt);
    all.add(a.usage ? a.usage->completion_tokens : std::nullopt);
  }
  return all.digest();
}

std::string digest_of(const state_write& write) {
  parts all{"state"};
  all.add(write.where.space);
  all.add(write.where.key);
  all.add(write.value);
  return all.digest();
}

std::string to_json(const std::vector<feed_result>& results) {
  auto out = json::array();
  for (auto& result : results) {
    json item{{"query_id", result.query_id}};
    if (auto& why = result.refused) {
      item["code"] = static_cast<unsigned>(why->code);
      item["message"] = why->message;
    }
    out.push_back(std::move(item));
  }
  // What a client calls a query may be no text; it was refused then.
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

expected<std::vector<feed_result>> feed_results_from(const std::string& text) {
  try {
    std::vector<feed_result> out;
    for (auto& item : json::parse(text)) {
      auto& result = out.emplace_back();
      result.query_id = item.at("query_id").get<std::string>();
      if (item.contains("code"))
        result.refused
          = failure{static_cast<errc>(item.at("code").get<std::uint8_t>()),
                    item.at("message").get<std::string>()};
    }
    return out;
  } catch (const json::exception& error) {
    return fail(errc::registry_corrupted,
                fmt::format("the kept result of a feed cannot be read: {}",
                            error.what()));
  }
}

} // namespace muster
