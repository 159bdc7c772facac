// SPDX-License-Identifier: Apache-2.0

#include "tests/black_box/told_work.hpp"

#include "actors/persistence/sqlite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace muster::test {

namespace {

using namespace std::chrono_literals;

/// Nothing here takes longer, also on a busy machine.
constexpr auto patience = 60s;

constexpr int query_count = 3;

constexpr const char* script = R"lua(
local answers = {}
for i = 1, 3 do
  answers[i] = alc.llm("question " .. i .. " behind " .. table.concat(answers, "+"))
  alc.state.incr("answers")
end
return answers
)lua";

constexpr const char* older_script
  = "local x = alc.llm('before') return x .. alc.llm('behind ' .. x)";

std::string answer_to(int number) {
  return fmt::format("answer {}", number);
}

/// What the script has to ask with this number, as it must have got all
/// answers before it.
std::string prompt_of(int number) {
  std::string answers;
  for (int i = 0; i < number; ++i)
    answers += (i == 0 ? "" : "+") + answer_to(i);
  return fmt::format("question {} behind {}", number + 1, answers);
}

json result() {
  auto out = json::array();
  for (int i = 0; i < query_count; ++i)
    out.push_back(answer_to(i));
  return out;
}

session_spec spec_of(const char* code) {
  session_spec spec;
  spec.code = code;
  return spec;
}

std::size_t entries(const std::string& folder) {
  std::error_code code;
  std::filesystem::directory_iterator all{folder, code};
  return code ? 0
              : static_cast<std::size_t>(
                std::distance(begin(all), std::filesystem::end(all)));
}

} // namespace

// -- told_work ----------------------------------------------------------------

void told_work::prepare(black_box& box, bool is_stopped) {
  box.require_start();
  auto link = *box.connect();
  auto view = link->start(spec_of(older_script), {patience});
  if (!view || !link->feed(view->session_id, {{"q-0", "x", {}}}, {patience}))
    throw std::runtime_error{"the state directory cannot be prepared"};
  link.reset();
  if (is_stopped)
    box.stop();
  else
    box.kill();
}

told_work::told_work(black_box& box) : box_(box) {
  // nop
}

std::optional<failure> told_work::go_on() {
  auto link = box_.connect();
  if (!link)
    return link.error();
  if (id_.empty()) {
    auto id = (*link)->spawn(spec_of(script), {patience});
    if (!id)
      return id.error();
    id_ = *id;
  }
  for (;;) {
    auto view = (*link)->await(id_, wait_for::event, patience);
    if (!view)
      return view.error();
    if (view->phase != session_phase::paused) {
      is_done_ = true;
      if (view->phase != session_phase::done
          || json::parse(view->result, nullptr, false) != result())
        add_fault("the session ends with " + view->result + view->error);
      return std::nullopt;
    }
    note_pause(*view);
    auto number = static_cast<int>(taken_.size());
    auto& q = view->queries.front();
    unsure_ = q.id;
    std::vector<answer> answers{{q.id, answer_to(number), {}}};
    auto reply = number == 1 ? (*link)->resume(id_, answers, {patience})
                             : (*link)->feed(id_, answers, {patience});
    if (!reply)
      return reply.error();
    auto& refused = reply->results.at(0).refused;
    // Behind a failed sync nobody knows what is on disk.
    if (!refused || refused->code != errc::storage_failed)
      unsure_.reset();
    if (refused)
      return *refused;
    taken_.insert(q.id);
  }
}

void told_work::note_pause(const session_view& view) {
  auto& q = view.queries.front();
  if (taken_.contains(q.id))
    add_fault(q.id + " is asked again, and its answer was acknowledged");
  if (unsure_ && *unsure_ != q.id)
    taken_.insert(*unsure_);
  unsure_.reset();
  auto number = static_cast<int>(taken_.size());
  if (view.queries.size() != 1 || q.id != fmt::format("q-{}", number)
      || q.prompt != prompt_of(number))
    add_fault(fmt::format("{} answers were acknowledged, and it asks {}: {}",
                          number, q.id, q.prompt));
}

void told_work::finish(std::size_t others) {
  auto link = box_.connect();
  if (!link)
    return add_fault("no connection: " + link.error().message);
  adopt(**link, others);
  if (auto failed = go_on())
    return add_fault("it cannot be finished: " + failed->message);
  finish_older(**link);
  auto count = (*link)->state_get({"default", "answers"}, patience);
  if (!count || !count->value
      || json::parse(*count->value, nullptr, false) != json(query_count))
    add_fault(
      "the shared count is "
      + (count ? count->value.value_or("absent") : count.error().message));
  auto text = (*link)->transcript(id_, patience);
  auto transcript = json::parse(text.value_or(""), nullptr, false);
  auto rounds = transcript.is_object() ? transcript["rounds"] : transcript;
  for (int i = 0; i < query_count; ++i)
    if (!rounds.is_array() || rounds.size() != query_count
        || rounds[static_cast<std::size_t>(i)].value("response", "")
             != answer_to(i))
      return add_fault("the transcript is " + text.value_or(""));
}

void told_work::adopt(client& link, std::size_t others) {
  auto page = link.list({}, patience);
  if (!page)
    return add_fault("no list: " + page.error().message);
  auto& all = page->sessions;
  if (all.size() > 2 + others || all.empty())
    add_fault(fmt::format("there are {} sessions", all.size()));
  if (all.empty())
    return;
  // The newest comes first.
  older_ = all.back().session_id;
  if (id_.empty() && all.size() == 2)
    id_ = all.front().session_id;
  auto is_mine = [this](auto& x) { return x.session_id == id_; };
  if (!id_.empty() && std::none_of(all.begin(), all.end(), is_mine))
    add_fault("the session " + id_ + " was acknowledged and is gone");
}

void told_work::finish_older(client& link) {
  auto view = link.show(older_, patience);
  if (!view || view->phase != session_phase::paused
      || view->queries.at(0).prompt != "behind x")
    return add_fault("the older session is not as it was");
  auto reply = link.feed(older_, {{"q-1", "y", {}}}, {patience});
  if (!reply || reply->session.result != "\"xy\"")
    add_fault("the older session does not end as it should");
}

void told_work::check_left_behind() {
  for (auto& entry : std::filesystem::directory_iterator{box_.state()})
    if (auto name = entry.path().filename().string();
        name != "lock" && name != "sessions.db" && name != "tls")
      add_fault("the node left " + name + " behind");
  try {
    sqlite::connection db{box_.state() + "/sessions.db", ""};
    if (auto verdict = db.text("PRAGMA integrity_check"); verdict != "ok")
      add_fault("the database is damaged: " + verdict);
  } catch (const sqlite::error& e) {
    add_fault("the database cannot be read: " + e.message);
  }
}

std::size_t told_work::acknowledged() const {
  return taken_.size() + (id_.empty() ? 0 : 1) + (is_done_ ? 1 : 0);
}

// -- footprint ----------------------------------------------------------------

footprint footprint_of(pid_t pid) {
  auto folder = fmt::format("/proc/{}/", pid);
  std::size_t children = 0;
  for (auto& entry : std::filesystem::directory_iterator{folder + "task"}) {
    std::ifstream in{entry.path() / "children"};
    for (pid_t child = 0; in >> child;)
      ++children;
  }
  return {entries(folder + "fd"), entries(folder + "task"), children};
}

std::string to_string(const footprint& x) {
  return fmt::format("{} descriptors, {} threads, {} children", x.descriptors,
                     x.threads, x.children);
}

} // namespace muster::test
