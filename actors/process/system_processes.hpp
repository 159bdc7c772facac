// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/io_loop.hpp"
#include "actors/process/process_port.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace muster {

/// The processes of the operating system. The thread of a loop waits for the
/// end and the readiness of all of them, and calls the listeners.
class system_processes : public process_port {
public:
  // -- constants --------------------------------------------------------------

  /// How long a killed process may take to end when this is stopped; one that
  /// hangs in the kernel is left to it.
  static constexpr auto stop_patience = std::chrono::seconds(2);

  // -- constructors and destructors -------------------------------------------

  /// @param max_processes how many are held at most.
  /// @param loop what waits for them; without one they have their own.
  /// @returns `overloaded` if there is no descriptor left.
  [[nodiscard]] static expected<std::unique_ptr<system_processes>>
  open(std::size_t max_processes, std::shared_ptr<io_loop> loop = nullptr);

  ~system_processes() override;

  // -- the port ---------------------------------------------------------------

  expected<process_identity> start(const process_order& order,
                                   process_listener listener) override;

  expected<void> adopt(const process_identity& who,
                       process_listener listener) override;

  expected<void> send(const process_identity& who, int signal) override;

  expected<bool> is_alive(const process_identity& who) override;

  std::size_t size() const override;

  /// Must not be called by what the loop calls: it waits for its thread.
  void stop() override;

private:
  // -- member types -----------------------------------------------------------

  using clock = io_loop::clock;

  struct entry {
    explicit entry(process_handle what) : handle(std::move(what)) {
      // nop
    }

    process_handle handle;
    /// None once it is ready, or if it need not be.
    descriptor ready;
    std::string said;
    std::string program;
    std::chrono::milliseconds ready_within{0};
    readiness ready_by = readiness::line;
    /// What the loop waits for: its end, its pipe, and the limit of that.
    io_loop::key end = 0;
    io_loop::key pipe = 0;
    io_loop::key limit = 0;
    /// Whether it closed its pipe without a line, maybe by ending.
    bool was_silent = false;
    std::optional<failure> never_ready;
    process_listener listener;
  };

  using entries = std::map<std::uint64_t, entry>;

  // -- implementation details -------------------------------------------------

  system_processes(std::size_t max_processes, std::shared_ptr<io_loop> loop);

  /// Looks what a process says, and whether it has ended.
  void on_event(std::uint64_t number, bool may_have_ended);

  /// Kills one that was not ready in time.
  void on_late(std::uint64_t number);

  // All that follows needs the lock.

  [[nodiscard]] expected<void> check_room() const;

  [[nodiscard]] expected<void> insert(entry x);

  /// Lets the loop wait for it.
  [[nodiscard]] expected<void> watch(std::uint64_t number, entry& x);

  void erase(entries::iterator i);

  /// Reads what a child says, and gives it up if that is no line.
  /// @returns the line once it is whole.
  std::optional<std::string> read_line(entry& x);

  /// Reads what a child says that is to become another program.
  /// @returns its line once it is that program.
  std::optional<std::string> read_report(entry& x);

  /// Gives one up that has closed its pipe without a whole line.
  void give_up_silent(entry& x);

  /// Notes why a child never became ready, and kills it.
  void give_up(entry& x, errc code, const std::string& why);

  void give_up(entry& x, failure why);

  void close_pipe(entry& x);

  /// What its listener hears about its end.
  static process_ended ended(const entry& x, process_exit end);

  // -- member variables -------------------------------------------------------

  std::size_t max_processes_;
  std::shared_ptr<io_loop> loop_;
  /// Guards what follows.
  mutable std::mutex mutex_;
  bool done_ = false;
  /// Room taken by those that are being started.
  std::size_t reserved_ = 0;
  std::uint64_t last_number_ = 0;
  entries entries_;
  std::map<process_identity, std::uint64_t> numbers_;
};

} // namespace muster
