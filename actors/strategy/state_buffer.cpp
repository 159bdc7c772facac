// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/state_buffer.hpp"

namespace muster {

const std::optional<std::string>*
state_buffer::written(const state_key& where) const {
  auto i = writes_.find(where);
  return i != writes_.end() ? &i->second : nullptr;
}

std::vector<state_write> state_buffer::writes() const {
  std::vector<state_write> out;
  out.reserve(writes_.size());
  for (auto& [where, value] : writes_)
    out.push_back({where, value});
  return out;
}

std::vector<state_expectation> state_buffer::expectations() const {
  std::vector<state_expectation> out;
  for (auto& [where, version] : reads_)
    if (writes_.contains(where))
      out.push_back({where, version});
  return out;
}

void state_buffer::note_read(const state_key& where, std::uint64_t version) {
  reads_.try_emplace(where, version);
}

void state_buffer::write(const state_key& where,
                         std::optional<std::string> value) {
  auto [i, is_new] = writes_.try_emplace(where);
  if (is_new)
    write_bytes_ += where.key.size();
  else if (i->second)
    write_bytes_ -= i->second->size();
  if (value)
    write_bytes_ += value->size();
  i->second = std::move(value);
}

void state_buffer::clear() {
  reads_.clear();
  writes_.clear();
  write_bytes_ = 0;
}

} // namespace muster
