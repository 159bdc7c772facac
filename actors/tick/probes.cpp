// SPDX-License-Identifier: Apache-2.0

#include "actors/tick/probes.hpp"

#include "messages/json.hpp"

namespace muster {

namespace {

using probes_pointer = probes_actor::stateful_pointer<probes_state>;

/// One round: who has not answered, and what the others said.
struct round {
  std::size_t open = 1;
  std::uint64_t asked = 0;
  caf::typed_response_promise<std::uint64_t> promise;

  void end_one() {
    if (--open == 0)
      promise.deliver(asked);
  }
};

} // namespace

std::string probes_state::status() const {
  auto all = json::array();
  for (auto& x : entries) {
    json item{{"name", x.what.name},
              {"runs", x.runs},
              {"asked", x.asked},
              {"failures", x.failures},
              {"skipped", x.skipped}};
    if (!x.last_error.empty())
      item["last_error"] = x.last_error;
    all.push_back(std::move(item));
  }
  return json{{"probes", std::move(all)}}.dump();
}

probes_actor::behavior_type probes(probes_pointer self, std::vector<probe> all,
                                   status_sink_actor sink) {
  self->state.sink = std::move(sink);
  for (auto& x : all)
    self->state.entries.emplace_back().what = std::move(x);
  return {
    [=](report_atom) {
      self->send(self->state.sink, report_atom::value, "probes",
                 self->state.status());
    },
    [=](collect_atom) -> caf::result<std::uint64_t> {
      auto now = std::make_shared<round>();
      now->promise = self->make_response_promise<std::uint64_t>();
      auto& entries = self->state.entries;
      for (std::size_t at = 0; at < entries.size(); ++at) {
        auto& x = entries[at];
        if (x.busy) {
          ++x.skipped;
          continue;
        }
        x.busy = true;
        ++x.runs;
        ++now->open;
        self->request(x.what.who, caf::infinite, probe_atom::value)
          .then(
            [=](std::uint64_t count) {
              auto& entry = self->state.entries[at];
              entry.busy = false;
              entry.asked += count;
              entry.last_error.clear();
              now->asked += count;
              now->end_one();
            },
            [=](const caf::error& error) {
              auto& entry = self->state.entries[at];
              entry.busy = false;
              ++entry.failures;
              entry.last_error = from_caf(error).message;
              now->end_one();
            });
      }
      auto out = now->promise;
      now->end_one();
      return out;
    },
  };
}

} // namespace muster
