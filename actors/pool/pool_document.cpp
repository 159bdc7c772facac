// SPDX-License-Identifier: Apache-2.0

#include "actors/pool/pool_document.hpp"

#include "messages/entry_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace muster {

namespace {

/// Reads who a worker is. Pids that no process can have are refused.
/// @returns why the entry can be no worker, if so.
std::optional<std::string> read_identity(entry_reader& from, pool_record& to) {
  auto pid = from.number("pid");
  json identity{{"pid", pid},
                {"start_ticks", from.take("start_ticks")},
                {"boot_id", from.take("boot_id")}};
  if (!from.wrong().empty())
    return std::nullopt;
  // Numbers above the range of signed ones are none either.
  auto is_huge
    = pid.is_number_unsigned() && pid.get<std::uint64_t>() > INT64_MAX;
  auto checked = check_pid(is_huge ? INT64_MAX : pid.get<std::int64_t>());
  if (!checked)
    return fmt::format("{} is the pid of no process", pid.dump());
  to.pid = *checked;
  if (identity["start_ticks"].is_null() && identity["boot_id"].is_null())
    return std::nullopt;
  if (auto who = process_identity_from(identity))
    to.who = std::move(*who);
  else
    from.note("start_ticks' and 'boot_id");
  return std::nullopt;
}

/// @param is_intent whether the entry stands under `starting`.
expected<std::optional<pool_record>>
read_record(const json& entry, bool is_intent, std::string_view path,
            std::vector<refused_record>& refused) {
  if (!entry.is_object())
    return damaged_document(
      path, fmt::format("an entry is {} and no object", kind_of(entry)));
  entry_reader reader{entry};
  pool_record out;
  out.sid = reader.text("sid");
  out.sock = reader.text("sock");
  out.version = reader.text("version");
  out.created_at = reader.text("created_at");
  if (auto session = reader.text_or_none("session"); !session.empty())
    out.session = std::move(session);
  out.nonce_sha256 = reader.text_or_none("nonce_sha256");
  out.request_id = reader.text_or_none("request_id");
  auto why = is_intent ? std::nullopt : read_identity(reader, out);
  if (is_intent && out.nonce_sha256.empty())
    reader.note("nonce_sha256");
  if (!reader.wrong().empty())
    return damaged_document(path,
                            fmt::format("the entry '{}' has no proper '{}'",
                                        out.sid, reader.wrong()));
  if (why) {
    refused.push_back({out.sid, out.sock, *why});
    return std::nullopt;
  }
  out.others = reader.rest();
  return out;
}

/// Reads one of the two lists.
expected<void> read_list(const json& list, bool is_intent,
                         std::string_view path, pool_document& to) {
  for (auto& entry : list) {
    auto record = read_record(entry, is_intent, path, to.refused);
    if (!record)
      return tl::unexpected<failure>{record.error()};
    if (*record)
      to.records.push_back(std::move(**record));
  }
  return {};
}

/// Leaves of the entries with the same id only the last one.
void drop_duplicates(std::vector<pool_record>& records) {
  std::stable_sort(records.begin(), records.end(),
                   [](auto& a, auto& b) { return a.sid < b.sid; });
  std::vector<pool_record> out;
  for (auto& record : records) {
    if (!out.empty() && out.back().sid == record.sid)
      out.back() = std::move(record);
    else
      out.push_back(std::move(record));
  }
  records = std::move(out);
}

void append(std::string& to, const char* name,
            const std::vector<std::string_view>& entries) {
  to += '"';
  to += name;
  to += "\":[";
  for (auto& entry : entries) {
    to += &entry == entries.data() ? "\n" : ",\n";
    to += entry;
  }
  to += entries.empty() ? "]" : "\n]";
}

} // namespace

expected<pool_document> read_pool_document(std::string_view text,
                                           std::string_view path) {
  auto value = json::parse(text, nullptr, false);
  if (!value.is_object())
    return damaged_document(path, "it is no JSON object");
  auto take = [&](const char* name) {
    auto out = value.contains(name) ? std::move(value[name]) : json{};
    value.erase(name);
    return out;
  };
  auto format = take("format");
  if (!format.is_null() && !format.is_number_unsigned())
    return damaged_document(path, "its 'format' is no number");
  if (!format.is_null() && format.get<std::uint64_t>() > pool_format)
    return fail(errc::newer_format,
                fmt::format("'{}' has format {}, and this version knows {} at "
                            "most; use the version that wrote it",
                            path, format.get<std::uint64_t>(), pool_format));
  auto sessions = take("sessions");
  auto starting = take("starting");
  if (!sessions.is_array())
    return damaged_document(path, "it has no list of 'sessions'");
  if (!starting.is_null() && !starting.is_array())
    return damaged_document(path, "its 'starting' is no list");
  pool_document out;
  // What has an identity counts more than the intent that it came from.
  auto fine = read_list(starting, true, path, out).and_then([&] {
    return read_list(sessions, false, path, out);
  });
  if (!fine)
    return tl::unexpected<failure>{fine.error()};
  drop_duplicates(out.records);
  out.others = std::move(value);
  return out;
}

std::string render(const pool_record& record) {
  auto out = record.others;
  out["sid"] = record.sid;
  if (record.is_identified())
    out["pid"] = record.pid;
  out["sock"] = record.sock;
  out["version"] = record.version;
  out["created_at"] = record.created_at;
  out["session"] = record.session ? json(*record.session) : json{};
  if (record.who) {
    out["start_ticks"] = record.who->start_ticks;
    out["boot_id"] = record.who->boot_id;
  }
  if (!record.nonce_sha256.empty())
    out["nonce_sha256"] = record.nonce_sha256;
  if (!record.request_id.empty())
    out["request_id"] = record.request_id;
  return out.dump();
}

std::string render(const json& others,
                   const std::vector<std::string_view>& sessions,
                   const std::vector<std::string_view>& starting) {
  auto size = [](auto& list) {
    std::size_t bytes = 0;
    for (auto& x : list)
      bytes += x.size() + 2;
    return bytes;
  };
  std::string out;
  out.reserve(size(sessions) + size(starting) + 256);
  out += fmt::format("{{\"format\":{},\n", pool_format);
  append(out, "sessions", sessions);
  out += ",\n";
  append(out, "starting", starting);
  for (auto& [name, value] : others.items()) {
    out += ",\n";
    append_quoted(out, name);
    out += ':';
    out += value.dump();
  }
  out += "}\n";
  return out;
}

} // namespace muster
