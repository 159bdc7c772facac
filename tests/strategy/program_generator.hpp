// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace muster::test {

/// Writes Lua programs that a seed decides, each of which comes to an end. They
/// ask queries wherever a script can, and where it cannot; they count in
/// `alc.stats` what they really did.
class program_generator {
public:
  /// @param nests whether the program may find out how deep its calls nest in
  ///              C, the one thing that depends on where slices end.
  program_generator(std::uint64_t seed, bool nests);

  /// The whole program. Call it once.
  [[nodiscard]] std::string program();

private:
  enum class kind { integer, text, list, map, function };

  struct variable {
    std::string name;
    kind type;
  };

  using statement = void (program_generator::*)();

  /// How often a statement is written, compared with others.
  struct weighted {
    unsigned weight;
    statement write;
  };

  /// Where the code stands that is being written.
  struct surroundings {
    /// What a query that is asked here is counted as.
    std::string place = "the script";
    /// Whether it certainly runs in a coroutine of the program.
    bool in_coroutine = false;
  };

  // -- chance -----------------------------------------------------------------

  std::uint64_t roll(std::uint64_t below) {
    return random_() % below;
  }

  bool chance(unsigned percent) {
    return roll(100) < percent;
  }

  std::string one_of(std::initializer_list<std::string_view> choices) {
    return std::string{choices.begin()[roll(choices.size())]};
  }

  // -- text -------------------------------------------------------------------

  template <class... Ts>
  void line(fmt::format_string<Ts...> format, Ts&&... xs) {
    code_.append(2 * indent_, ' ');
    code_ += fmt::format(format, std::forward<Ts>(xs)...);
    code_ += '\n';
  }

  void open(std::string_view text) {
    line("{}", text);
    ++indent_;
  }

  void close(std::string_view text = "end") {
    --indent_;
    line("{}", text);
  }

  /// A name that was not used before.
  std::string fresh(std::string_view stem) {
    return fmt::format("{}{}", stem, ++names_);
  }

  std::string declare(kind type, std::string_view value);

  /// Some variable of a kind; absent ones are written first.
  std::string any(kind type);

  // -- expressions ------------------------------------------------------------

  std::string integer(int depth = 2);

  std::string number(int depth = 2);

  std::string text(int depth = 2);

  std::string flag();

  std::string key();

  std::string value();

  /// What raises an error, as a statement.
  std::string fault();

  // -- blocks -----------------------------------------------------------------

  /// A few statements with variables of their own.
  void block();

  /// The same, elsewhere.
  void block_in(std::string_view place);

  /// The same, in a coroutine of the program.
  void block_in_coroutine();

  void write_statement();

  // -- statements -------------------------------------------------------------

  void write_variable();
  void write_assignment();
  void write_output();
  void write_query();
  void write_batch();
  void write_parallel();
  void write_list_change();
  void write_map_change();
  void write_pairs();
  void write_next();
  void write_ipairs();
  void write_sort();
  void write_list_sort();
  void write_closure();
  void write_recursion();
  void write_condition();
  void write_loop();
  void write_goto();
  void write_pcall();
  void write_xpcall();
  void write_error();
  void write_generator();
  void write_resumes();
  void write_scheduler();
  void write_closed_coroutine();
  void write_bare_coroutine();
  void write_yield();
  void write_variable_to_close();
  void write_methods();
  void write_unyieldable();
  void write_gsub();
  void write_gmatch();
  void write_format();
  void write_random();
  void write_clock();
  void write_state();
  void write_update();
  void write_varargs();
  void write_load();
  void write_require();
  void write_json();
  void write_depth();

  static const std::vector<weighted>& statements();

  // -- member variables -------------------------------------------------------

  std::mt19937_64 random_;
  bool nests_;
  std::string code_;
  unsigned indent_ = 0;
  unsigned names_ = 0;
  /// Statements that may still be written.
  int left_ = 0;
  /// Blocks around the one that is being written.
  int depth_ = 0;
  surroundings here_;
  std::vector<variable> scope_;
};

} // namespace muster::test
