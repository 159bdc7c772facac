// SPDX-License-Identifier: Apache-2.0

#include "actors/recovery/slot_group_document.hpp"

#include "messages/entry_reader.hpp"
#include "messages/pod_json.hpp"
#include "messages/recovery_json.hpp"

#include <fmt/format.h>

#include <initializer_list>

namespace muster {

namespace {

// -- reading ------------------------------------------------------------------

/// Reads a word by the table that writes it.
template <class T>
T read_word(entry_reader& from, const char* name,
            std::initializer_list<T> words) {
  auto text = from.text(name);
  for (auto word : words)
    if (text == to_string(word))
      return word;
  from.note(name);
  return *words.begin();
}

std::vector<std::string> read_texts(entry_reader& from, const char* name) {
  std::vector<std::string> out;
  auto list = from.take(name);
  if (!list.is_null() && !list.is_array())
    from.note(name);
  if (list.is_array())
    for (auto& x : list) {
      if (x.is_string())
        out.push_back(x.get<std::string>());
      else
        from.note(name);
    }
  return out;
}

std::uint8_t read_byte(entry_reader& from, const char* name) {
  auto out = from.count(name);
  if (out > 255)
    from.note(name);
  return static_cast<std::uint8_t>(out);
}

std::int64_t read_ns(entry_reader& from, const char* name) {
  auto out = std::min<std::uint64_t>(from.count(name), 1ull << 62);
  return static_cast<std::int64_t>(out);
}

restart_policy read_policy(entry_reader& from) {
  auto policy = restart_policy_from(from.take("policy"));
  if (!policy)
    from.note("policy");
  return policy.value_or(restart_policy{});
}

/// What its pods run; their names come from their slots.
pod_order read_pod(entry_reader& from) {
  auto order = pod_order_from(from.take("pod"));
  if (!order) {
    from.note("pod");
    return {};
  }
  order->name.clear();
  return std::move(*order);
}

slot_record read_slot(entry_reader& from) {
  using enum slot_health;
  slot_record out;
  out.index = read_byte(from, "index");
  out.health = read_word(
    from, "state",
    {empty, starting, healthy, unhealthy, backing_off, failed, stopping});
  out.term = from.count("term");
  out.occupant = from.text_or_none("occupant");
  out.place = from.text_or_none("place");
  out.restarts = from.count("restarts");
  out.guard.next_ns = read_ns(from, "next_delay_ns");
  out.guard.wait_ns = read_ns(from, "wait_ns");
  out.guard.is_paused = from.flag("paused");
  out.guard.has_failed = from.flag("given_up");
  out.last_error = from.text_or_none("last_error");
  return out;
}

stray_occupant read_stray(entry_reader& from) {
  return {read_byte(from, "index"), from.count("term"), from.text("occupant"),
          from.text("place")};
}

// -- writing ------------------------------------------------------------------

json pod_json(const slot_group_definition& what) {
  auto order = what.pod;
  order.name = what.name;
  return to_json(order);
}

json slot_json(const slot_record& x) {
  auto out = x.others;
  out["index"] = x.index;
  out["state"] = to_string(x.health);
  out["term"] = x.term;
  if (!x.occupant.empty())
    out["occupant"] = x.occupant;
  if (!x.place.empty())
    out["place"] = x.place;
  out["restarts"] = x.restarts;
  out["next_delay_ns"] = x.guard.next_ns;
  out["wait_ns"] = x.guard.wait_ns;
  out["paused"] = x.guard.is_paused;
  out["given_up"] = x.guard.has_failed;
  if (!x.last_error.empty())
    out["last_error"] = x.last_error;
  return out;
}

} // namespace

expected<slot_group_document> read_slot_group(std::string_view text,
                                              std::string_view path) {
  auto value = json::parse(text, nullptr, false);
  if (!value.is_object())
    return damaged_document(path, "it is no JSON object");
  entry_reader from{value};
  auto format = from.take("format");
  if (!format.is_number_unsigned())
    return damaged_document(path, "its 'format' is no number");
  if (format.get<std::uint64_t>() > slot_group_format)
    return fail(errc::newer_format,
                fmt::format("'{}' has format {}, and this version knows {} at "
                            "most; use the version that wrote it",
                            path, format.get<std::uint64_t>(),
                            slot_group_format));
  slot_group_document out;
  out.id = from.text("id");
  out.request_id = from.text_or_none("request_id");
  out.definition.name = from.text("name");
  out.definition.kind
    = read_word(from, "kind", {slot_kind::worker, slot_kind::pod});
  out.definition.slots = read_byte(from, "wanted");
  if (out.definition.kind == slot_kind::pod)
    out.definition.pod = read_pod(from);
  out.definition.policy = read_policy(from);
  out.is_deleted = from.flag("deleted");
  out.last_term = from.count("last_term");
  for (auto& place : read_texts(from, "failed_places"))
    out.failed_places.insert(std::move(place));
  auto slots = from.take("slots");
  auto strays = from.take("strays");
  if (!slots.is_array() || !strays.is_array())
    return damaged_document(path, "it has no lists of 'slots' and 'strays'");
  if (!from.wrong().empty())
    return damaged_document(path,
                            fmt::format("it has no proper '{}'", from.wrong()));
  if (!path.ends_with(fmt::format("/{}.json", out.definition.name)))
    return damaged_document(
      path, fmt::format("it is that of group '{}'", out.definition.name));
  for (auto& entry : slots) {
    entry_reader reader{entry};
    auto record = read_slot(reader);
    auto n = out.slots.size();
    if (!entry.is_object() || !reader.wrong().empty())
      return damaged_document(
        path, fmt::format("slot {} has no proper '{}'", n, reader.wrong()));
    if (record.index != n)
      return damaged_document(
        path,
        fmt::format("slot {} stands where slot {} should", record.index, n));
    if (record.term > out.last_term)
      return damaged_document(
        path, fmt::format("slot {} is of term {}, and {} is the "
                          "last one",
                          n, record.term, out.last_term));
    record.others = reader.rest();
    out.slots.push_back(std::move(record));
  }
  for (auto& entry : strays) {
    entry_reader reader{entry};
    out.strays.push_back(read_stray(reader));
    if (!entry.is_object() || !reader.wrong().empty())
      return damaged_document(
        path, fmt::format("a stray has no proper '{}'", reader.wrong()));
  }
  out.others = from.rest();
  return out;
}

std::string render(const slot_group_document& x) {
  auto out = x.others;
  out["format"] = slot_group_format;
  out["id"] = x.id;
  out["request_id"] = x.request_id;
  out["name"] = x.definition.name;
  out["kind"] = to_string(x.definition.kind);
  out["wanted"] = x.definition.slots;
  if (x.definition.kind == slot_kind::pod)
    out["pod"] = pod_json(x.definition);
  out["policy"] = to_json(x.definition.policy);
  out["deleted"] = x.is_deleted;
  out["last_term"] = x.last_term;
  out["failed_places"] = x.failed_places;
  out["slots"] = json::array();
  for (auto& slot : x.slots)
    out["slots"].push_back(slot_json(slot));
  out["strays"] = json::array();
  for (auto& stray : x.strays)
    out["strays"].push_back({{"index", stray.index},
                             {"term", stray.term},
                             {"occupant", stray.occupant},
                             {"place", stray.place}});
  return out.dump() + "\n";
}

} // namespace muster
