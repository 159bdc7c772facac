#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the examples of documentation pages and compares what they print.

    run_examples.py --muster PROGRAM PAGE...   run the examples of these pages
    run_examples.py --links FILE...            check their links and anchors
    run_examples.py --self-test                check the runner itself

How a page is written:

  ```console    Lines that begin with `$ ` are commands, lines that begin with
                `> ` go on with the command above, all others are what it
                prints, standard error included. All commands of a page run in
                one shell, in a folder and with a state directory of their own.
                A command that ends in ` &` stays in the background; the lines
                below it are waited for. One that fails must be followed by
                `$ echo $?`.
  ...           within a line: any text. Alone in a line: any lines.
  <word>        text without spaces and quotation marks.

  <!-- file: NAME -->      The next block is written to the file NAME.
  <!-- source: NAME... --> These entries of the source tree are linked into the
                           folder.
  <!-- from: NAME -->      The next block stands in the file NAME of the source
                           tree, word for word but for its indentation.
  <!-- not run: REASON --> The next block is not run.

Each of these markers stands in front of what it is about. A block of kind
`text` shows something and is no example. Any other block must be run, written
to a file, stand in one, or say why not.
"""

import argparse
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

COMMAND_DEADLINE = 20  # seconds
STOP_DEADLINE = 10

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


class Fault(Exception):
    """Something that is wrong with a page."""

    def __init__(self, page, line, text):
        super().__init__(f"{page}:{line}: {text}")


# -- reading pages --------------------------------------------------------------


class Block:
    """A fenced block of a page."""

    def __init__(self, kind, line, marker):
        self.kind = kind
        self.line = line  # of its first line, not of the fence
        self.marker = marker  # (name, argument) or None
        self.lines = []


class Command:
    """A command of a console block and what it should print."""

    def __init__(self, line, text):
        self.line = line
        self.text = text
        self.expected = []  # (line number, text)

    def is_background(self):
        return self.text.endswith(" &")


MARKER = re.compile(r"^<!-- (file|from|source|not run): (.*\S) *-->$")


def parse(page, text):
    """The blocks of a page and the entries of the source tree that it wants."""
    blocks, sources = [], []
    block = marker = None
    for number, line in enumerate(text.split("\n"), 1):
        if block is not None:
            if line.startswith("```"):
                blocks.append(block)
                block = None
            else:
                block.lines.append(line)
            continue
        found = MARKER.match(line)
        if found and found[1] == "source":
            sources += found[2].split()
        elif found:
            if marker:
                raise Fault(page, number, "two markers for one block")
            marker = (found[1], found[2])
        elif line.startswith("```"):
            block = Block(line[3:].strip(), number + 1, marker)
            marker = None
        elif line.startswith("<!--"):
            raise Fault(page, number, "no such marker: " + line)
        elif marker and line.strip():
            raise Fault(page, number, "a marker must stand before its block")
    if block is not None:
        raise Fault(page, block.line, "the block does not end")
    if marker:
        raise Fault(page, number, "a marker without a block")
    return blocks, sources


def commands_of(page, block):
    commands = []
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("$ "):
            commands.append(Command(number, line[2:]))
        elif not commands:
            raise Fault(page, number, "output without a command")
        elif line.startswith("> ") and not commands[-1].expected:
            commands[-1].text += "\n" + line[2:]
        else:
            commands[-1].expected.append((number, line))
    if not commands:
        raise Fault(page, block.line, "a console block without a command")
    return commands


# -- comparing ------------------------------------------------------------------


def pattern_of(line):
    out = ""
    for part in re.split(r"(\.\.\.|<[a-z][a-z_ -]*>)", line):
        if part == "...":
            out += ".*"
        elif part.startswith("<") and part.endswith(">"):
            out += r'[^\s"]+'
        else:
            out += re.escape(part)
    return re.compile(out + r"\Z")


def first_difference(expected, got):
    """Compares lines with patterns.

    Gives None, or the positions of the first ones that do not fit: `expected`
    as far as it fits with any meaning of its wildcards.
    """
    # reachable[i]: the first i patterns fit all lines so far.
    best = 0
    reachable = {0}

    def close(states):
        todo = list(states)
        while todo:
            i = todo.pop()
            if i < len(expected) and expected[i] == "..." and i + 1 not in states:
                states.add(i + 1)
                todo.append(i + 1)
        return states

    reachable = close(reachable)
    for at, line in enumerate(got):
        after = set()
        for i in reachable:
            if i < len(expected) and expected[i] == "...":
                after.add(i)
            elif i < len(expected) and pattern_of(expected[i]).match(line):
                after.add(i + 1)
        if not after:
            return max(reachable), at
        reachable = close(after)
        best = max(reachable)
    if len(expected) in reachable:
        return None
    return best, len(got)


# What bash says of a job that was killed, whenever it comes to it.
NOTICE = re.compile(r"\S+: line \d+: +\d+ (Killed|Terminated|Aborted)\b")


def lines_of(text):
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return [line.rstrip() for line in lines if not NOTICE.match(line)]


# -- running --------------------------------------------------------------------


def processes_of(session):
    """The processes of a session, by pid: all that a shell has started."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as stat:
                # Behind the name, which may hold anything: state, parent,
                # group, session.
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(name))
    return found


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def pods_below(folder):
    """The pods of nodes whose state is below a folder; they have sessions of
    their own."""
    begin = f"MUSTER_POD_FOLDER={folder}/".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as environment:
                variables = environment.read().split(b"\0")
        except OSError:
            continue
        if any(x.startswith(begin) for x in variables):
            found.append(int(name))
    return found


class Shell:
    """One bash, which runs one command after the other."""

    def __init__(self, folder, muster):
        self.private = os.path.join(folder, "runner")
        self.work = os.path.join(folder, "example")
        for path in (self.private, self.work):
            os.mkdir(path)
        self.count = 0
        self.status = 0
        environment = {
            "HOME": folder,
            "LC_ALL": "C.UTF-8",
            "MUSTER_STATE_DIR": os.path.join(folder, "state"),
            "PATH": os.path.dirname(os.path.abspath(muster)) + ":"
                    + os.environ.get("PATH", "/usr/bin:/bin"),
            "TMPDIR": folder,
            "TZ": "UTC",
        }
        for name, value in os.environ.items():
            if name.endswith("SAN_OPTIONS"):
                environment[name] = value
        self.results, theirs = os.pipe()
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=self.work, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=[theirs],
            start_new_session=True)
        # What a command starts must not hold this open.
        self.tell(f"exec {{muster_results}}>&{theirs} {theirs}>&-\n")
        os.close(theirs)

    def tell(self, text):
        self.bash.stdin.write(text.encode())
        self.bash.stdin.flush()

    def run(self, text, deadline):
        """Runs a command; gives what it printed, and its exit code if it came
        to its end in time."""
        self.count += 1
        script = os.path.join(self.private, f"{self.count}.sh")
        output = os.path.join(self.private, f"{self.count}.out")
        with open(script, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        self.tell(f"(exit {self.status}); . '{script}' >'{output}' 2>&1 "
                  "</dev/null {muster_results}>&- ; "
                  "printf '%d\\n' \"$?\" >&$muster_results\n")
        status = self.read_result(deadline)
        if status is not None:
            self.status = status
        return self.read(output), status

    def start(self, command):
        """Starts a command in the background; gives where it prints to."""
        self.count += 1
        output = os.path.join(self.private, f"{self.count}.out")
        open(output, "w", encoding="utf-8").close()
        self.run(f">>'{output}' 2>&1 {command}", COMMAND_DEADLINE)
        return output

    def read_result(self, deadline):
        line = b""
        end = time.monotonic() + deadline
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.results], [], [], left)[0]:
                return None
            byte = os.read(self.results, 1)
            if not byte:
                return None
            line += byte
        return int(line)

    @staticmethod
    def read(path):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def stop(self):
        """Ends everything that was started here; gives how many processes had
        to be killed."""
        session = self.bash.pid
        self.bash.stdin.close()
        end = time.monotonic() + STOP_DEADLINE
        asked = set()
        while time.monotonic() < end:
            left = processes_of(session)
            if not left:
                break
            signal_all(set(left) - asked, signal.SIGTERM)
            signal_all([self.bash.pid] if self.bash.poll() is None else [],
                       signal.SIGKILL)
            asked.update(left)
            time.sleep(0.02)
        left = processes_of(session)
        signal_all(left, signal.SIGKILL)
        self.bash.wait()
        os.close(self.results)
        return len(left)


def compare(page, command, got):
    expected = [text.rstrip() for _, text in command.expected]
    # Empty lines at the end of a block are for the eye.
    while expected and not expected[-1]:
        expected.pop()
    difference = first_difference(expected, got)
    if difference is None:
        return
    wanted, found = difference
    line = command.line
    if wanted < len(expected):
        line = command.expected[wanted][0]
    elif command.expected:
        line = command.expected[-1][0]
    raise Fault(
        page, line,
        f"$ {command.text}\n"
        f"  expected: {expected[wanted] if wanted < len(expected) else '(the end)'}\n"
        f"  got:      {got[found] if found < len(got) else '(the end)'}\n"
        "  all of it:\n" + "\n".join("    " + text for text in got))


def run_background(page, shell, command):
    output = shell.start(command.text)
    end = time.monotonic() + COMMAND_DEADLINE
    while True:
        try:
            compare(page, command, lines_of(shell.read(output)))
            return
        except Fault:
            if time.monotonic() > end:
                raise
        time.sleep(0.01)


def run_block(page, shell, block):
    commands = commands_of(page, block)
    for i, command in enumerate(commands):
        if command.is_background():
            run_background(page, shell, command)
            continue
        text, status = shell.run(command.text, COMMAND_DEADLINE)
        if status is None:
            raise Fault(page, command.line,
                        f"$ {command.text}\n  did not end in "
                        f"{COMMAND_DEADLINE} s; it printed:\n{text}")
        compare(page, command, lines_of(text))
        is_looked_at = (i + 1 < len(commands)
                        and commands[i + 1].text.startswith("echo $?"))
        if status != 0 and not is_looked_at:
            raise Fault(page, command.line,
                        f"$ {command.text}\n  exited with {status}; follow it "
                        "with '$ echo $?' if it should")


def write_file(page, folder, block):
    path = os.path.normpath(os.path.join(folder, block.marker[1]))
    if not path.startswith(folder + os.sep):
        raise Fault(page, block.line, "the file is outside of the folder")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(block.lines) + "\n")


def check_excerpt(page, block):
    """Whether a block stands in the file that it is said to be from."""
    name = block.marker[1]
    try:
        with open(os.path.join(SOURCE, name), encoding="utf-8") as file:
            there = file.read().split("\n")
    except OSError as error:
        raise Fault(page, block.line, str(error)) from error
    count = len(block.lines)
    wanted = textwrap.dedent("\n".join(block.lines))
    if not wanted.strip() or not any(
            textwrap.dedent("\n".join(there[at:at + count])) == wanted
            for at in range(len(there) - count + 1)):
        raise Fault(page, block.line, f"this does not stand in {name}")


def run_page(page, muster):
    """Runs the examples of a page; gives how many were run, written, left."""
    with open(page, encoding="utf-8") as file:
        blocks, sources = parse(page, file.read())
    run = written = left = 0
    folder = tempfile.mkdtemp(prefix="muster-docs-")
    shell = Shell(folder, muster)
    try:
        for name in sources:
            os.symlink(os.path.join(SOURCE, name),
                       os.path.join(shell.work, name))
        for block in blocks:
            if block.marker and block.marker[0] == "not run":
                left += 1
            elif block.marker and block.marker[0] == "from":
                check_excerpt(page, block)
                run += 1
            elif block.marker:
                write_file(page, shell.work, block)
                written += 1
            elif block.kind == "console":
                run_block(page, shell, block)
                run += 1
            elif block.kind != "text":
                raise Fault(page, block.line,
                            f"a block of kind '{block.kind}' must be a file "
                            "or say why it is not run")
    finally:
        killed = shell.stop()
        pods = pods_below(folder)
        signal_all(pods, signal.SIGKILL)
        shutil.rmtree(folder)
    if killed:
        raise Fault(page, 1, f"{killed} processes did not end when told to")
    if pods:
        raise Fault(page, 1, f"{len(pods)} processes of pods were not stopped")
    if run == 0:
        raise Fault(page, 1, "no example was run")
    return run, written, left


# -- links ----------------------------------------------------------------------

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def without_code(text):
    """The text of a page with its code blanked, line numbers kept."""
    lines, inside = [], False
    for line in text.split("\n"):
        if line.startswith("```"):
            inside = not inside
            line = ""
        lines.append("" if inside else re.sub(r"`[^`]*`", "", line))
    return lines


def anchors_of(text):
    """What the headings of a page can be linked by."""
    anchors, inside = set(), False
    for line in text.split("\n"):
        if line.startswith("```"):
            inside = not inside
        heading = re.match(r"#+ +(.*?) *#*$", line)
        if inside or not heading:
            continue
        plain = LINK.sub(lambda x: x[0][1:x[0].index("]")], heading[1])
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        unique, count = slug, 0
        while unique in anchors:
            count += 1
            unique = f"{slug}-{count}"
        anchors.add(unique)
    return anchors


def check_links(path):
    """Gives the number of links in a file and what is wrong with them."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    count, faults = 0, []
    for number, line in enumerate(without_code(text), 1):
        for target in LINK.findall(line):
            count += 1
            if re.match(r"[a-z]+:", target):
                continue  # somewhere else: not ours to look after
            name, _, anchor = target.partition("#")
            there = path
            if name:
                there = os.path.normpath(
                    os.path.join(os.path.dirname(os.path.abspath(path)), name))
            if not os.path.exists(there):
                faults.append(f"{path}:{number}: there is no {target}")
                continue
            if not anchor:
                continue
            with open(there, encoding="utf-8") as file:
                if anchor not in anchors_of(file.read()):
                    faults.append(f"{path}:{number}: {there} has no heading "
                                  f"for #{anchor}")
    return count, faults


# -- the runner itself ----------------------------------------------------------


def self_test():
    """Pages that are wrong must not pass, and nothing may stay behind."""
    muster = sys.executable  # any program will do

    def outcome(text):
        with tempfile.TemporaryDirectory() as folder:
            page = os.path.join(folder, "page.md")
            with open(page, "w", encoding="utf-8") as file:
                file.write(text)
            try:
                return run_page(page, muster)
            except Fault as fault:
                return str(fault).partition("page.md")[2]

    def console(*lines):
        return "\n".join(["```console", *lines, "```", ""])

    def expect(wanted, text):
        got = outcome(text)
        assert got == wanted or isinstance(wanted, str) and wanted in str(got), \
            f"expected {wanted!r}, got {got!r}, of\n{text}"

    expect((1, 0, 0), console("$ echo a; echo b", "a", "b"))
    expect(":3: ", console("$ echo a", "b"))
    expect("got:      b", console("$ echo a; echo b", "a"))
    expect("expected: b", console("$ echo a", "a", "b"))
    expect((1, 0, 0), console("$ seq 5", "1", "...", "5"))
    expect((1, 0, 0), console("$ seq 2", "1", "2", "..."))
    expect(":4: ", console("$ seq 5", "...", "6"))
    expect((1, 0, 0), console("$ echo id s-12 is x y", "id <id> is ..."))
    expect("expected: id", console("$ echo 'id s 12'", "id <id>"))
    expect("exited with 3", console("$ (exit 3)"))
    expect((1, 0, 0), console("$ (exit 3)", "$ echo $?", "3"))
    expect((2, 0, 0), console("$ x=1; cd /") + console("$ echo $x $PWD", "1 /"))
    expect((1, 0, 0), console("$ cat <<END", "> a", "> END", "a"))
    expect((1, 0, 0), console("$ echo error >&2; read x || echo none", "error",
                              "none"))
    expect((1, 1, 0), "<!-- file: a/b.txt -->\n```json\n{}\n```\n"
           + console("$ cat a/b.txt", "{}"))
    expect((1, 0, 0), "<!-- from: tests/run_suite.cmake -->\n```cmake\n"
           "  RESULT_VARIABLE code\n  OUTPUT_VARIABLE output\n```\n")
    expect("does not stand in", "<!-- from: tests/run_suite.cmake -->\n```text\nx y\n```\n")
    expect("No such file", "<!-- from: none -->\n```text\nx\n```\n")
    expect((1, 0, 1), "<!-- not run: why -->\n```sh\nx\n```\n"
           + console("$ true"))
    expect("must be a file", "```lua\nx\n```\n" + console("$ true"))
    expect("no example was run", "```text\nx\n```\n")
    expect("outside", "<!-- file: ../x -->\n```json\n{}\n```\n")
    expect("no such marker", "<!-- flie: x -->\n")
    expect("must stand before", "<!-- file: x -->\ntext\n")
    expect("does not end", "```console\n$ true\n")
    expect((1, 0, 0), console("$ sh -c 'sleep 0.1; echo up; exec sleep 99' &",
                              "up", "$ kill $!"))
    expect((1, 0, 0), console("$ sleep 99 &"))
    # What does not listen is killed, and said.
    global STOP_DEADLINE, COMMAND_DEADLINE
    STOP_DEADLINE = COMMAND_DEADLINE = 0.5
    expect("did not end in", console("$ sleep 99"))
    expect("did not end when told to",
           console("$ bash -c 'trap : TERM; echo up; while :; do read -t 9; "
                   "done' <> <(:) &", "up"))
    expect("expected: up", console("$ sleep 99 &", "up"))

    assert anchors_of("# A `b` c\n## A b c\n```\n# no\n```\n### X: y, [z](w)") \
        == {"a-b-c", "a-b-c-1", "x-y-z"}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.md")
        with open(path, "w", encoding="utf-8") as file:
            file.write("# Top\n[a](a.md#top) [b](#no) `[c](d)` [e](f.md)\n"
                       "[g](https://h)\n")
        count, faults = check_links(path)
        assert count == 4 and len(faults) == 2, faults
    print("the runner works")


# -- the program ----------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description="Runs examples of pages.")
    parser.add_argument("--muster", help="the program")
    parser.add_argument("--links", action="store_true",
                        help="check links instead")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("pages", nargs="*")
    options = parser.parse_args()
    # So that everything is stopped when the runner is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    if options.self_test:
        self_test()
        return 0
    if options.links:
        total, faults = 0, []
        for page in options.pages:
            count, wrong = check_links(page)
            total += count
            faults += wrong
        for fault in faults:
            print(fault)
        print(f"{total} links in {len(options.pages)} files")
        return 1 if faults or total == 0 else 0
    if not options.muster or not options.pages:
        parser.error("give --muster and a page")
    failed = False
    for page in options.pages:
        try:
            run, written, left = run_page(page, options.muster)
            print(f"{page}: {run} blocks run, {written} files written, "
                  f"{left} not run")
        except Fault as fault:
            failed = True
            print(fault)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
