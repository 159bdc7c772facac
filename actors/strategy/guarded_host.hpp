// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/crash_notes.hpp"

#include "messages/strategy.hpp"

#include <memory>
#include <string>

namespace muster {

/// Stands before a host: says in its thread which session runs there, so that a
/// crash of the process can be laid to it, and does not run a session under
/// which the process has died too often.
class guarded_host final : public strategy_host {
public:
  // -- constructors and destructors -------------------------------------------

  /// @param notes of those who died before this process.
  /// @param max_crashes deaths in a row, at the same place, behind which a
  ///        session is run no more.
  guarded_host(strategy_host_ptr host, std::shared_ptr<const crash_notes> notes,
               std::uint64_t max_crashes);

  ~guarded_host() override;

  // -- strategy_host ----------------------------------------------------------

  void start(strategy_start what) override;

  [[nodiscard]] host_report advance() override;

  void resolve(host_result result) override;

  void answer(std::vector<answered_event> answers) override;

  void committed(std::uint64_t seq) override;

  [[nodiscard]] std::vector<log_line> take_logs() override;

  [[nodiscard]] std::uint64_t memory_bytes() const override;

private:
  // -- member variables -------------------------------------------------------

  /// Absent once the session has been refused.
  strategy_host_ptr host_;
  std::shared_ptr<const crash_notes> notes_;
  std::uint64_t max_crashes_;

  std::string session_id_;

  /// Pauses that the session has had.
  std::uint64_t pauses_ = 0;

  /// Why the session is not run, until the session was told.
  std::string refusal_;
};

} // namespace muster
