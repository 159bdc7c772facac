// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <lua.hpp>

#include <functional>
#include <initializer_list>
#include <string_view>

namespace muster::test {

/// While one of these lives, each machine that is built is changed before its
/// script is loaded. There is nothing of this in the program: the linker puts
/// it between the machine and its library, see `tests/CMakeLists.txt`.
class changed_machines {
public:
  /// @param change gets the main thread of the machine, with everything open,
  ///               behind the changes of those that live already.
  explicit changed_machines(std::function<void(lua_State*)> change);

  ~changed_machines();

  changed_machines(const changed_machines&) = delete;

  changed_machines& operator=(const changed_machines&) = delete;

private:
  std::function<void(lua_State*)> outside_;
};

/// Puts functions of the interpreter's own library in place of ours, such as
/// `pairs` or `table.sort`.
void put_back(lua_State* lua, std::initializer_list<std::string_view> names);

/// Puts a function in place of ours, such as `os.time`.
void put(lua_State* lua, std::string_view name, lua_CFunction function);

} // namespace muster::test
