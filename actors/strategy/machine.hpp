// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/strategy/package_folders.hpp"
#include "actors/strategy/settings.hpp"
#include "actors/strategy/state_buffer.hpp"

#include "messages/budget.hpp"
#include "messages/history.hpp"
#include "messages/ids.hpp"
#include "messages/strategy.hpp"

#include <lua.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace muster {

// -- what a machine reports ---------------------------------------------------

/// The slice is over.
struct machine_sliced {};

/// The script asks; `machine::answer` goes on. The queries have no ids yet.
struct machine_asks {
  std::vector<query> queries;
};

/// The script needs something of the host; `machine::resolve` goes on.
struct machine_calls {
  host_call call;
};

/// The script requires a module; `machine::provide` goes on.
struct machine_requires {
  std::string name;
};

/// The script returned this JSON.
struct machine_returned {
  std::string result;
};

/// The script failed.
struct machine_raised {
  std::string message;
  failure_kind kind = failure_kind::lua_error;
};

using machine_report
  = std::variant<machine_sliced, machine_asks, machine_calls, machine_requires,
                 machine_returned, machine_raised>;

/// What a script can be suspended for.
using machine_wish
  = std::variant<machine_sliced, machine_asks, machine_calls, machine_requires>;

// -- what a machine needs at once ---------------------------------------------

/// What a script may do anywhere, also where it cannot be suspended.
class machine_port {
public:
  virtual ~machine_port() = default;

  /// Reads a clock: `wall` (milliseconds since the epoch), `cpu` (nanoseconds,
  /// from any start) or `elapsed` (milliseconds since the session began).
  /// Absent if the script asked too often; its limit is broken then.
  virtual std::optional<std::int64_t> read_clock(std::string_view which) = 0;

  /// Why a write to `where` must be refused, if it must.
  virtual std::optional<std::string> refuse_write(const state_key& where) = 0;

  /// The text of a part of the library that ships with the program.
  virtual std::string builtin(std::string_view name) = 0;

  /// Notes something that leaves the script; two runs that differ in it differ.
  virtual void did(std::string_view what, std::string_view text) = 0;

  /// The script wrote to its log.
  virtual void
  log(std::string_view level, std::string_view source, std::string_view message)
    = 0;
};

/// Adds globals of its own to the sandbox of a script. Runs in protected mode.
/// What it adds must not suspend the script, and what it answers stands in no
/// history: only for scripts that are never replayed.
using machine_extension = std::function<void(lua_State*)>;

/// What the functions of the library know about the script that calls them.
struct script_context {
  /// Where the random numbers of the script begin.
  random_bits seed{};
  /// Counts how often the script asked for another, unpredictable beginning.
  std::uint64_t reseeds = 0;
  /// The namespace of shared state that the script uses.
  std::string space = "default";
  /// What was read and written of the shared state since the last pause.
  state_buffer state;
  /// What the session may spend.
  budget spending;
  /// What `alc.stats.record` holds.
  json stats = json::object();
  /// What these take as JSON.
  std::uint64_t stats_bytes = 0;
  /// What `alc.progress` said last, as JSON.
  std::string progress;
};

// -- the machine --------------------------------------------------------------

/// One Lua virtual machine with one script in it. Built so that two runs which
/// are told the same things do the same things, and so that no script, whatever
/// it does, holds its thread for longer than a slice.
///
/// It knows nothing of replays: it reports what the script wants, and goes on
/// when told.
class machine {
public:
  // -- constructors and destructors -------------------------------------------

  /// Builds the virtual machine and its sandbox.
  /// @throws std::bad_alloc if there is no memory for it.
  machine(const strategy_settings& settings, machine_port& port,
          const machine_extension& more = {});

  ~machine();

  machine(const machine&) = delete;

  machine& operator=(const machine&) = delete;

  // -- driving ----------------------------------------------------------------

  /// Loads the script. Call `advance` next.
  void start(const spawned_event& what);

  /// Runs until something happens or the slice is over.
  [[nodiscard]] machine_report advance();

  /// Answers `machine_asks`, in the order of its queries.
  void answer(std::vector<answered_event> answers);

  /// Answers `machine_calls`.
  void resolve(host_result result);

  /// Answers `machine_requires`.
  void provide(module_text module);

  /// Gives the script a whole slice again.
  void begin_slice() {
    slice_ = 0;
  }

  /// From here on limits are enforced. Not before: what a first run survived, a
  /// replay must survive as well.
  void go_live();

  // -- properties -------------------------------------------------------------

  [[nodiscard]] const strategy_settings& settings() const {
    return settings_;
  }

  [[nodiscard]] std::uint64_t memory_bytes() const {
    return memory_;
  }

  /// Whether limits are enforced.
  [[nodiscard]] bool is_live() const {
    return live_;
  }

  /// Whether the slice is used up.
  [[nodiscard]] bool slice_is_over() const {
    return slice_ >= settings_.slice_instructions;
  }

  [[nodiscard]] script_context& context() {
    return context_;
  }

  [[nodiscard]] machine_port& port() {
    return port_;
  }

  // -- for the functions of the library ---------------------------------------

  /// The machine that a Lua thread belongs to.
  static machine& of(lua_State* lua);

  /// Whether `lua` is the thread that runs the script's own text, as opposed to
  /// a coroutine of the script.
  [[nodiscard]] bool is_script(const lua_State* lua) const {
    return lua == script_;
  }

  /// Whether the script can be suspended here: there is no C function in
  /// between that could not go on, in this coroutine or in those around it.
  [[nodiscard]] bool can_suspend(lua_State* lua) const {
    return pins_ == 0 && lua_isyieldable(lua) != 0;
  }

  /// Raises an error, always the same, where the script cannot be suspended.
  /// @param who names the caller in that error.
  void check_suspendable(lua_State* lua, const char* who) const;

  /// Suspends the script until the host answered; then `next` goes on. Where
  /// that is impossible, `check_suspendable` has to be asked first.
  int suspend(lua_State* lua, machine_wish wish, lua_KFunction next,
              lua_KContext context = 0);

  /// Counts the steps of a loop in C as instructions.
  /// @returns whether the caller has to end its turn with `end_turn`.
  [[nodiscard]] bool count_work(lua_State* lua, std::uint64_t steps);

  /// Counts work that a function in C did in one go. It cannot be interrupted,
  /// but if the slice is over then, the script is at its next instruction.
  void charge(std::uint64_t steps);

  /// Lets others run; `next` goes on when it is this script's turn again.
  int end_turn(lua_State* lua, lua_KFunction next, lua_KContext context);

  /// Whether the coroutine that just yielded did so on behalf of the host, so
  /// that those around it have to yield as well.
  [[nodiscard]] bool passing_out() const {
    return passing_out_;
  }

  /// Ends the session: a limit was hit. No script can catch this.
  [[noreturn]] void break_limit(lua_State* lua, std::string message);

  /// Whether a limit was hit.
  [[nodiscard]] bool is_broken() const {
    return !broken_.empty();
  }

  /// Called by all that catch errors. Raises the error on if it says that a
  /// limit was hit.
  /// @param status what the protected call answered.
  void check_caught(lua_State* lua, int status);

  /// What the host answered last, for whoever asked.
  [[nodiscard]] host_result& result() {
    return result_;
  }

  [[nodiscard]] module_text& module() {
    return module_;
  }

  [[nodiscard]] std::vector<answered_event>& answers() {
    return answers_;
  }

  /// While one of these lives, no script of the machine can be suspended.
  class pin {
  public:
    explicit pin(machine& m) : machine_(m) {
      ++machine_.pins_;
    }

    ~pin() {
      --machine_.pins_;
    }

    pin(const pin&) = delete;

    pin& operator=(const pin&) = delete;

  private:
    machine& machine_;
  };

  /// Notes which thread of the script runs while one of these lives.
  class running {
  public:
    running(machine& m, lua_State* thread)
      : machine_(m), before_(std::exchange(m.current_, thread)) {
      // nop
    }

    ~running() {
      machine_.current_ = before_;
    }

    running(const running&) = delete;

    running& operator=(const running&) = delete;

  private:
    machine& machine_;
    lua_State* before_;
  };

  /// Pins the machine while the variables of a coroutine are closed.
  class closing : public pin {
  public:
    explicit closing(machine& m) : pin(m), depth_(m.closings_) {
      ++depth_;
    }

    ~closing() {
      --depth_;
    }

    /// How many closings are under way within each other, this one included.
    [[nodiscard]] unsigned depth() const {
      return depth_;
    }

  private:
    unsigned& depth_;
  };

private:
  // -- callbacks of the virtual machine ---------------------------------------

  static void* allocate(void* self, void* block, std::size_t old_size,
                        std::size_t new_size);

  static void on_count(lua_State* lua, lua_Debug*);

  // -- implementation details -------------------------------------------------

  /// Runs `f` on the main thread in protected mode, with `argument` as light
  /// userdata below whatever is on the stack already.
  /// @returns the status; on success the results, else the error is on the
  ///          stack.
  int protect(lua_CFunction f, void* argument, int results);

  /// Counts instructions and ends the session if there were too many.
  void count(lua_State* lua, std::uint64_t instructions);

  [[nodiscard]] machine_report returned(int results);

  [[nodiscard]] machine_report raised(int status);

  [[nodiscard]] std::string out_of_memory() const;

  // -- member variables -------------------------------------------------------

  const strategy_settings& settings_;
  machine_port& port_;
  script_context context_;
  lua_State* main_ = nullptr;

  /// The thread that the script's own text runs in.
  lua_State* script_ = nullptr;

  /// The one of its threads that runs; null while none does.
  lua_State* current_ = nullptr;

  /// Values on the stack of `script_` that its next resume takes.
  int arguments_ = 0;

  /// Why the text could not be loaded.
  std::string load_error_;

  /// The limit that was hit; nothing runs on after that.
  std::string broken_;

  std::uint64_t memory_ = 0;
  std::uint64_t slice_ = 0;
  std::uint64_t instructions_ = 0;
  std::uint64_t unyielding_ = 0;
  unsigned pins_ = 0;
  unsigned closings_ = 0;
  bool live_ = false;
  bool passing_out_ = false;
  machine_wish wish_;
  host_result result_;
  module_text module_;
  std::vector<answered_event> answers_;
};

} // namespace muster
