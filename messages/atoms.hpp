// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <caf/atom.hpp>

namespace muster {

// The verbs. An atom has at most ten characters.

using acknowledge_atom = caf::atom_constant<caf::atom("acknowledg")>;
using advance_atom = caf::atom_constant<caf::atom("advance")>;
using await_atom = caf::atom_constant<caf::atom("await")>;
using beat_atom = caf::atom_constant<caf::atom("beat")>;
using cancel_atom = caf::atom_constant<caf::atom("cancel")>;
using check_atom = caf::atom_constant<caf::atom("check")>;
using collect_atom = caf::atom_constant<caf::atom("collect")>;
using commit_atom = caf::atom_constant<caf::atom("commit")>;
using create_atom = caf::atom_constant<caf::atom("create")>;
using delete_atom = caf::atom_constant<caf::atom("delete")>;
using erase_atom = caf::atom_constant<caf::atom("erase")>;
using expire_atom = caf::atom_constant<caf::atom("expire")>;
using feed_atom = caf::atom_constant<caf::atom("feed")>;
using find_atom = caf::atom_constant<caf::atom("find")>;
using flush_atom = caf::atom_constant<caf::atom("flush")>;
using get_atom = caf::atom_constant<caf::atom("get")>;
using group_atom = caf::atom_constant<caf::atom("group")>;
using hello_atom = caf::atom_constant<caf::atom("hello")>;
using lagged_atom = caf::atom_constant<caf::atom("lagged")>;
using leave_atom = caf::atom_constant<caf::atom("leave")>;
using list_atom = caf::atom_constant<caf::atom("list")>;
using load_atom = caf::atom_constant<caf::atom("load")>;
using log_atom = caf::atom_constant<caf::atom("log")>;
using machine_atom = caf::atom_constant<caf::atom("machine")>;
using observe_atom = caf::atom_constant<caf::atom("observe")>;
using pending_atom = caf::atom_constant<caf::atom("pending")>;
using pod_atom = caf::atom_constant<caf::atom("pod")>;
using pool_atom = caf::atom_constant<caf::atom("pool")>;
using probe_atom = caf::atom_constant<caf::atom("probe")>;
using prune_atom = caf::atom_constant<caf::atom("prune")>;
using read_atom = caf::atom_constant<caf::atom("read")>;
using ready_atom = caf::atom_constant<caf::atom("ready")>;
using recall_atom = caf::atom_constant<caf::atom("recall")>;
using recover_atom = caf::atom_constant<caf::atom("recover")>;
using recovery_atom = caf::atom_constant<caf::atom("recovery")>;
using register_atom = caf::atom_constant<caf::atom("register")>;
using release_atom = caf::atom_constant<caf::atom("release")>;
using remove_atom = caf::atom_constant<caf::atom("remove")>;
using report_atom = caf::atom_constant<caf::atom("report")>;
using reset_atom = caf::atom_constant<caf::atom("reset")>;
using run_atom = caf::atom_constant<caf::atom("run")>;
using save_atom = caf::atom_constant<caf::atom("save")>;
using scale_atom = caf::atom_constant<caf::atom("scale")>;
using scan_atom = caf::atom_constant<caf::atom("scan")>;
using scopes_atom = caf::atom_constant<caf::atom("scopes")>;
using send_atom = caf::atom_constant<caf::atom("send")>;
using set_atom = caf::atom_constant<caf::atom("set")>;
using show_atom = caf::atom_constant<caf::atom("show")>;
using slot_atom = caf::atom_constant<caf::atom("slot")>;
using snapshot_atom = caf::atom_constant<caf::atom("snapshot")>;
using spaces_atom = caf::atom_constant<caf::atom("spaces")>;
using spawn_atom = caf::atom_constant<caf::atom("spawn")>;
using start_atom = caf::atom_constant<caf::atom("start")>;
using status_atom = caf::atom_constant<caf::atom("status")>;
using stay_atom = caf::atom_constant<caf::atom("stay")>;
using stop_atom = caf::atom_constant<caf::atom("stop")>;
using take_atom = caf::atom_constant<caf::atom("take")>;
using transcript_atom = caf::atom_constant<caf::atom("transcript")>;
using unobserve_atom = caf::atom_constant<caf::atom("unobserve")>;
using watch_atom = caf::atom_constant<caf::atom("watch")>;

} // namespace muster
