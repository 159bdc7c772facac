#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the rules of the house that a compiler does not know.

Usage: check_house.py SOURCE_DIR

- An include goes down only: app -> actors -> messages. A family of actors
  includes messages, actors/process and itself; the node may include all, and
  the process of a worker, in actors/pool, and the reference pod, in actors/pod,
  actors/strategy.
- A pure core reaches no header of the actor framework, however indirectly.
- Every source says its licence in its first two lines.
"""

import pathlib
import re
import sys

# What decides is a plain class, tested without a scheduler and replayed from
# disk; these files and all that they include are.
PURE_CORES = [
    "actors/persistence/age_clock.hpp",
    "actors/persistence/database.cpp",
    "actors/persistence/documents.cpp",
    "actors/pod/confine.cpp",
    "actors/pod/file_tools.cpp",
    "actors/pod/pod_agent_core.cpp",
    "actors/pod/pod_agent_library.cpp",
    "actors/pod/pod_agent_output.cpp",
    "actors/pod/pod_agent_process.cpp",
    "actors/pod/pod_agent_script.cpp",
    "actors/pod/pod_agent_strategy.cpp",
    "actors/pod/pod_document.cpp",
    "actors/pod/pod_output.cpp",
    "actors/pod/pod_protocol.cpp",
    "actors/pod/pod_table.cpp",
    "actors/pod/pod_table_life.cpp",
    "actors/pod/pod_table_talk.cpp",
    "actors/pod/privileges.cpp",
    "actors/pod/program.cpp",
    "actors/pod/scope_paths.cpp",
    "actors/pod/scope_rules.cpp",
    "actors/pod/scope_table.cpp",
    "actors/pool/pool_document.cpp",
    "actors/pool/pool_table.cpp",
    "actors/pool/pool_table_life.cpp",
    "actors/pool/worker_core.cpp",
    "actors/pool/worker_host.cpp",
    "actors/pool/worker_process.cpp",
    "actors/pool/worker_protocol.cpp",
    "actors/process/confinement.cpp",
    "actors/process/crash_notes.cpp",
    "actors/process/frame_buffer.cpp",
    "actors/process/io_loop.cpp",
    "actors/process/landlock.cpp",
    "actors/process/process_handle.cpp",
    "actors/process/process_identity.cpp",
    "actors/process/readiness.cpp",
    "actors/process/spawn.cpp",
    "actors/process/stop_ladder.cpp",
    "actors/process/socket_server.cpp",
    "actors/process/system_processes.cpp",
    "actors/process/system_sockets.cpp",
    "actors/process/unix_socket.cpp",
    "actors/recovery/backoff.cpp",
    "actors/recovery/recovery_table.cpp",
    "actors/recovery/slot_group_core.cpp",
    "actors/recovery/slot_group_document.cpp",
    # No stranger reaches the framework, whose protocol does not bear them.
    "actors/remote/certificates.cpp",
    "actors/remote/gate.cpp",
    "actors/remote/identity.cpp",
    "actors/remote/log_limit.cpp",
    "actors/remote/socket.cpp",
    "actors/remote/tls_connection.cpp",
    "actors/session/observation.cpp",
    "actors/session/session_fold.cpp",
    "actors/session/session_state.cpp",
    "actors/session/session_state_commits.cpp",
    "actors/session/snapshot.cpp",
    "actors/strategy/guarded_host.cpp",
    "actors/strategy/local_host.cpp",
    "messages/budget.cpp",
    "messages/ids.cpp",
    "messages/json.cpp",
    "messages/scope.cpp",
    "messages/scope_json.cpp",
    "messages/tokens.cpp",
]

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)
OWN_FOLDERS = ("messages", "actors", "app", "tests")


def includes_of(path):
    return [(kind == '"', name) for kind, name in INCLUDE.findall(path.read_text())]


def may_include(file, name):
    """Whether `file` may include the file `name` of this project."""
    to = name.split("/")
    if to[0] == "messages" or file.parts[0] == "tests":
        return True
    if file.parts[0] == "messages" or to[0] == "tests":
        return False
    if file.parts[0] == "app":
        return True
    if to[0] != "actors":
        return False
    family = file.parts[1]
    # A worker process is a strategy with a socket, and so is the reference pod.
    for of, name in (("pool", "worker_"), ("pod", "pod_agent")):
        if family == of and file.name.startswith(name) and to[1] == "strategy":
            return True
    return family == "node" or to[1] in ("process", family)


def check_includes(root, files):
    for file in files:
        for own, name in includes_of(root / file):
            if not own or name.split("/")[0] not in OWN_FOLDERS:
                continue
            if not (root / name).is_file():
                yield f"{file}: includes {name}, which does not exist"
            elif not may_include(file, name):
                yield f"{file}: must not include {name}"


def check_pure_cores(root):
    for core in PURE_CORES:
        seen, open_files = set(), [core]
        if not (root / core).is_file():
            yield f"{core}: is listed as a pure core and does not exist"
            continue
        while open_files:
            file = open_files.pop()
            for own, name in includes_of(root / file):
                if name.startswith("caf/"):
                    yield f"{core}: reaches <{name}> by {file}"
                elif own and name not in seen and (root / name).is_file():
                    seen.add(name)
                    open_files.append(name)


def check_licences(root, files):
    for file in files:
        head = (root / file).read_text().splitlines()[:2]
        if not any("SPDX-License-Identifier: Apache-2.0" in x for x in head):
            yield f"{file}: does not say its licence"


def main():
    root = pathlib.Path(sys.argv[1])
    files = sorted(
        path.relative_to(root)
        for folder in OWN_FOLDERS
        for path in (root / folder).rglob("*")
        if path.suffix in (".hpp", ".cpp", ".lua", ".py")
    )
    faults = [
        *check_includes(root, [x for x in files if x.suffix in (".hpp", ".cpp")]),
        *check_pure_cores(root),
        *check_licences(root, files),
    ]
    for fault in faults:
        print(fault)
    print(f"{len(files)} files checked, {len(faults)} faults")
    return 1 if faults or not files else 0


if __name__ == "__main__":
    sys.exit(main())
