// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/pod_document.hpp"

#include "messages/entry_reader.hpp"
#include "messages/scope_json.hpp"

#include <fmt/format.h>

#include <initializer_list>

namespace muster {

namespace {

// -- reading ------------------------------------------------------------------

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

std::map<std::string, output_cursor> read_cursors(entry_reader& from) {
  std::map<std::string, output_cursor> out;
  auto all = from.take("cursors");
  if (!all.is_null() && !all.is_object())
    from.note("cursors");
  if (all.is_object())
    for (auto& [reader, x] : all.items()) {
      entry_reader cursor{x};
      out[reader] = {cursor.count("segment"), cursor.count("offset")};
      if (!x.is_object() || !cursor.wrong().empty())
        from.note("cursors");
    }
  return out;
}

std::vector<pod_notice> read_notices(entry_reader& from) {
  std::vector<pod_notice> out;
  auto all = from.take("notices");
  if (!all.is_null() && !all.is_array())
    from.note("notices");
  if (all.is_array())
    for (auto& x : all) {
      entry_reader notice{x};
      out.push_back({notice.count("id"), notice.text("kind"),
                     notice.text_or_none("pod_name"),
                     notice.text_or_none("message")});
      if (!x.is_object() || !notice.wrong().empty())
        from.note("notices");
    }
  return out;
}

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

pod_record read_record(entry_reader& from) {
  pod_record out;
  out.id = from.text("id");
  out.name = from.text("name");
  out.kind = read_word(from, "class", {pod_class::protocol, pod_class::plain});
  out.sandbox = read_word(
    from, "sandbox",
    {sandbox_mode::required, sandbox_mode::best_effort, sandbox_mode::off});
  out.enforced = from.text_or_none("enforced");
  out.cwd = from.text("cwd");
  out.command = read_texts(from, "command");
  out.created_at = from.text("created_at");
  out.request_id = from.text_or_none("request_id");
  if (auto who = from.take("process"); !who.is_null()) {
    if (auto known = process_identity_from(who))
      out.who = std::move(*known);
    else
      from.note("process");
  }
  out.was_ready = from.flag("ready");
  out.turns = from.count("turns");
  out.last_event = from.count("last_event");
  out.last_error = from.text_or_none("last_error");
  out.cursors = read_cursors(from);
  out.notices = read_notices(from);
  out.last_notice = from.count("last_notice");
  auto is_its_own = is_pod_id(out.id, out.name);
  if (auto fine = check_pod_name(out.name); !fine || !is_its_own)
    from.note(fine ? "id" : "name");
  return out;
}

/// A text of an entry that is wrong somewhere.
std::string text_of(const json& entry, const char* name) {
  auto i = entry.is_object() ? entry.find(name) : entry.end();
  return entry.is_object() && i != entry.end() && i->is_string()
           ? i->get<std::string>()
           : std::string{};
}

void read_pod(const json& entry, pod_document& to) {
  auto refuse = [&](std::string why) {
    to.broken.push_back(
      {text_of(entry, "name"), text_of(entry, "id"), std::move(why), entry});
  };
  if (!entry.is_object()) {
    refuse(fmt::format("it is {} and no object", kind_of(entry)));
    return;
  }
  entry_reader reader{entry};
  auto record = read_record(reader);
  for (auto& known : to.pods)
    if (known.name == record.name) {
      refuse(fmt::format("there is another pod '{}'", record.name));
      return;
    }
  if (!reader.wrong().empty()) {
    refuse(fmt::format("it has no proper '{}'", reader.wrong()));
    return;
  }
  record.others = reader.rest();
  to.pods.push_back(std::move(record));
}

expected<void> read_ended(const json& entry, std::string_view path,
                          pod_document& to) {
  if (!entry.is_object())
    return damaged_document(path, "an entry of 'ended' is no object");
  entry_reader reader{entry};
  ended_pod out;
  out.lender = reader.text("lender");
  out.ended_at = reader.text("ended_at");
  out.end = reader.text("end");
  auto rules = rules_from(reader.take("reclaimed"));
  if (!rules)
    return damaged_document(path, rules.error().message);
  out.reclaimed = std::move(*rules);
  out.record = read_record(reader);
  if (!reader.wrong().empty())
    return damaged_document(
      path, fmt::format("the entry '{}' of 'ended' has no proper "
                        "'{}'",
                        out.record.id, reader.wrong()));
  out.record.others = reader.rest();
  to.ended.push_back(std::move(out));
  return {};
}

// -- writing ------------------------------------------------------------------

json fields_of(const pod_record& x) {
  auto out = x.others;
  out["id"] = x.id;
  out["name"] = x.name;
  out["class"] = to_string(x.kind);
  out["sandbox"] = to_string(x.sandbox);
  if (!x.enforced.empty())
    out["enforced"] = x.enforced;
  out["cwd"] = x.cwd;
  if (!x.command.empty())
    out["command"] = x.command;
  out["created_at"] = x.created_at;
  if (!x.request_id.empty())
    out["request_id"] = x.request_id;
  if (x.who)
    out["process"] = to_json(*x.who);
  out["ready"] = x.was_ready;
  if (x.turns != 0)
    out["turns"] = x.turns;
  if (x.last_event != 0)
    out["last_event"] = x.last_event;
  if (!x.last_error.empty())
    out["last_error"] = x.last_error;
  for (auto& [reader, cursor] : x.cursors)
    out["cursors"][reader]
      = {{"segment", cursor.segment}, {"offset", cursor.offset}};
  for (auto& notice : x.notices)
    out["notices"].push_back({{"id", notice.id},
                              {"kind", notice.kind},
                              {"pod_name", notice.pod_name},
                              {"message", notice.message}});
  if (x.last_notice != 0)
    out["last_notice"] = x.last_notice;
  return out;
}

void append(std::string& to, const char* name,
            const std::vector<std::string_view>& entries) {
  to += fmt::format(",\n\"{}\":[", name);
  for (auto& entry : entries) {
    to += &entry == entries.data() ? "\n" : ",\n";
    to += entry;
  }
  to += "]";
}

} // namespace

std::string make_pod_id(const std::string& name, std::uint64_t random) {
  return fmt::format("{}.{:08x}", name, random & 0xffff'ffffu);
}

bool is_pod_id(std::string_view id, const std::string& name) {
  return id.size() == make_pod_id(name, 0).size() && id.starts_with(name + ".")
         && id.find_first_not_of("0123456789abcdef", name.size() + 1)
              == id.npos;
}

expected<pod_document> read_pod_document(std::string_view text,
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
  if (!format.is_number_unsigned())
    return damaged_document(path, "its 'format' is no number");
  if (format.get<std::uint64_t>() > pod_format)
    return fail(errc::newer_format,
                fmt::format("'{}' has format {}, and this version knows {} at "
                            "most; use the version that wrote it",
                            path, format.get<std::uint64_t>(), pod_format));
  auto pods = take("pods");
  auto ended = take("ended");
  auto scopes = take("scopes");
  if (!pods.is_array() || !ended.is_array())
    return damaged_document(path, "it has no lists of 'pods' and 'ended'");
  pod_document out;
  auto listing = listing_from(scopes);
  if (!listing)
    return damaged_document(path, listing.error().message);
  out.scopes = std::move(*listing);
  for (auto& entry : pods)
    read_pod(entry, out);
  for (auto& entry : ended)
    if (auto fine = read_ended(entry, path, out); !fine)
      return tl::unexpected<failure>{fine.error()};
  out.others = std::move(value);
  return out;
}

std::string render(const pod_record& record) {
  return fields_of(record).dump();
}

std::string render(const ended_pod& x) {
  auto out = fields_of(x.record);
  out["lender"] = x.lender;
  out["reclaimed"] = rules_json(x.reclaimed);
  out["ended_at"] = x.ended_at;
  out["end"] = x.end;
  return out.dump();
}

std::string render_pods(const json& others, const scope_listing& scopes,
                        const std::vector<std::string_view>& pods,
                        const std::vector<std::string_view>& ended) {
  auto out = fmt::format("{{\"format\":{}", pod_format);
  append(out, "pods", pods);
  append(out, "ended", ended);
  out += ",\n\"scopes\":";
  out += listing_json(scopes).dump();
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
