#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Uses the installed package as a stranger would.

    installed.py --cmake PROGRAM --build DIR [--flags FLAGS] [--launcher PROGRAM]

Installs a build into a temporary prefix, copies the examples away from the
source tree, builds them with nothing but that prefix and warnings as errors,
and runs them against the installed program, which listens with TLS.
"""

import argparse
import json
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow=local -Werror -O0"
BUILD_DEADLINE = 600  # seconds
RUN_DEADLINE = 60
MAX_OUTPUT = 4000  # characters

CLIENT_OUTPUT = """\
Name fruits for a salad. apple, pear
How much of this: apple one
How much of this: pear one
done: ["one","one"]
"""
COURIER_LAST_LINE = 'done: "a courier, home"'


class Fault(Exception):
    pass


def run(arguments, deadline, **more):
    """Runs a program to its end, which must be a good one."""
    done = subprocess.run(
        [str(x) for x in arguments], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=deadline, check=False,
        **more)
    if done.returncode != 0:
        raise Fault(f"{arguments} exits with {done.returncode}:\n"
                    f"{done.stdout[:MAX_OUTPUT]}")
    return done.stdout


def check(is_fine, what):
    if not is_fine:
        raise Fault(what)


class Node:
    """A node of the installed program."""

    def __init__(self, program, state):
        self.state = state
        self.log = open(f"{state}.log", "w+")
        self.process = subprocess.Popen(
            [str(program), "node", "--port", "0", "--state-dir", str(state)],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        ready, _, _ = select.select([self.process.stdout], [], [], RUN_DEADLINE)
        line = self.process.stdout.readline() if ready else ""
        if "muster is ready on" not in line:
            self.process.kill()
            self.process.wait()
            self.log.seek(0)
            raise Fault(f"the node does not start: {line}{self.log.read()}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(RUN_DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


PLAIN_HEADERS = ("client.hpp", "find_node.hpp", "node_location.hpp")


def compile_command(build):
    """How an example is compiled, all but what is compiled."""
    entry = json.loads((build / "compile_commands.json").read_text())[0]
    words = shlex.split(entry["command"])
    check("-o" in words and words[-2] == "-c", f"cannot read {words}")
    del words[words.index("-o"):]
    return words


def check_alone(header, build):
    """A header needs no other one in front of it."""
    run([*compile_command(build), "-fsyntax-only", "-include", header,
         "-x", "c++", os.devnull], BUILD_DEADLINE)


def check_headers(prefix):
    """What a header includes is installed, and what is said to hide CAF does."""
    for header in sorted((prefix / "include/muster").rglob("*.hpp")):
        text = header.read_text()
        check('#include "' not in text, f"{header} includes by a relative path")
    for name in PLAIN_HEADERS:
        reached = run(
            ["c++", "-std=c++20", "-M", f"-I{prefix}/include", "-x", "c++",
             f"{prefix}/include/muster/{name}"], BUILD_DEADLINE)
        check("/muster/" in reached, f"{name} reaches nothing")
        check(not re.search(r"/caf/", reached), f"<muster/{name}> reaches CAF")


def check_package(prefix, build):
    """Nothing in it names a place of this machine."""
    files = list(prefix.glob("lib*/**/cmake/muster/*.cmake"))
    check(len(files) >= 4, f"the package has only {files}")
    for file in files:
        text = file.read_text()
        for place in (str(SOURCE), str(build), str(prefix)):
            check(place not in text, f"{file} names {place}")


def build_example(options, name, prefix, folder):
    source = folder / name
    shutil.copytree(SOURCE / "examples" / name, source)
    more = []
    if options.launcher:
        more.append(f"-DCMAKE_CXX_COMPILER_LAUNCHER={options.launcher}")
    run([options.cmake, "-G", "Ninja", "-S", source, "-B", source / "build",
         f"-DCMAKE_PREFIX_PATH={prefix}",
         "-DCMAKE_NO_SYSTEM_FROM_IMPORTED=ON",
         "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
         f"-DCMAKE_CXX_FLAGS={WARNINGS} {options.flags}", *more],
        BUILD_DEADLINE, cwd=source)
    run([options.cmake, "--build", source / "build"], BUILD_DEADLINE,
        cwd=source)
    return source / "build"


def test(options, folder):
    prefix = folder / "prefix"
    run([options.cmake, "--install", options.build, "--prefix", prefix],
        BUILD_DEADLINE)
    check_package(prefix, options.build)
    check_headers(prefix)
    fruit_salad = build_example(options, "client", prefix, folder)
    courier = build_example(options, "caf_node", prefix, folder)
    headers = sorted((prefix / "include/muster").rglob("*.hpp"))
    check(len(headers) >= 15, f"there are only {headers}")
    for header in headers:
        check_alone(header, courier)
    for name in PLAIN_HEADERS:
        check_alone(prefix / "include/muster" / name, fruit_salad)
    node = Node(prefix / "bin/muster", folder / "state")
    try:
        check((node.state / "tls/client.pem").exists(), "the node has no TLS")
        said = run([fruit_salad / "fruit_salad", node.state], RUN_DEADLINE)
        check(said == CLIENT_OUTPUT, f"examples/client says:\n{said}")
        said = run([courier / "courier", node.state], RUN_DEADLINE)
        lines = said.splitlines()
        check(lines[-1:] == [COURIER_LAST_LINE], f"examples/caf_node says:\n{said}")
        # It has observed both pauses, one behind the other.
        seen = [int(line.split(" ", 1)[0]) for line in lines[:-1]]
        check(seen == sorted(seen) and said.count("pause_requested") == 2,
              f"examples/caf_node observes:\n{said}")
    finally:
        node.stop()
    # Without a node they say so.
    for program in (fruit_salad / "fruit_salad", courier / "courier"):
        done = subprocess.run([str(program), str(node.state)],
                              capture_output=True, text=True, check=False,
                              timeout=RUN_DEADLINE)
        check(done.returncode == 1 and done.stderr.startswith("unreachable: "),
              f"without a node, {program.name} says: {done.stderr}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cmake", required=True)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--flags", default="")
    parser.add_argument("--launcher", default="")
    options = parser.parse_args()
    for name in ("MUSTER_NODE", "MUSTER_TLS", "MUSTER_STATE_DIR"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="muster-package-") as folder:
        try:
            test(options, pathlib.Path(folder))
        except (Fault, subprocess.TimeoutExpired) as fault:
            print(fault)
            return 1
    print("the installed package works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
