// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <lua.hpp>

namespace muster::lua {

// Lua goes through a table in an order that depends on a seed of the virtual
// machine, so it differs from run to run. Ours goes through integers, then
// other numbers, each ascending, then strings by their bytes, then false and
// true, then at most one key of another type: two of these have no order that
// would be the same in every run, and raise an error.

/// `pairs`: goes through the keys that the table had when it was called.
int ordered_pairs(lua_State* lua);

/// `next`: gives the key behind another. That a table is empty is found at
/// once, its first key is searched for among all of them, and the ones behind
/// it come from a traversal that is kept while it goes on.
int ordered_next(lua_State* lua);

} // namespace muster::lua
