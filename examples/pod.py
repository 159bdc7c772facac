#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A whole pod that speaks the protocol: it counts the words of its task."""

import json
import os
import socket
import time

name = os.environ["MUSTER_POD_NAME"]
output = os.path.join(os.environ["MUSTER_POD_FOLDER"], "output")
os.makedirs(output, exist_ok=True)

runs = {}  # the turns that were accepted, by the id of their run
unconfirmed = []  # events that the node has not kept
events = 0


def write(text):
    line = {"kind": "text", "text": text, "turn": len(runs),
            "ts": int(time.time() * 1000)}
    with open(os.path.join(output, "000001.jsonl"), "ab", buffering=0) as log:
        log.write(json.dumps(line).encode() + b"\n")


def say(peer, event, data):
    peer.sendall(json.dumps({"event": event, "data": data}).encode() + b"\n")


def run(peer, params):
    global events
    task = "\n".join(part["content"] for part in params["input"]
                     if part["kind"] == "text")
    known = params["id"] in runs
    turn = runs.setdefault(params["id"], len(runs) + 1)
    say(peer, "turn_start", {"run": params["id"], "turn": turn})
    if known:
        return
    write(f"{len(task.split())} words")
    events += 1
    unconfirmed.append(("turn_ended", {"id": events, "turn": turn}))
    say(peer, *unconfirmed[-1])


def serve(peer):
    say(peer, "snapshot", {"pod_name": name, "protocol": 1})
    for event in unconfirmed:
        say(peer, *event)
    for line in peer.makefile("rb"):
        try:
            frame = json.loads(line)
            method, params = frame["method"], frame.get("params", {})
            if method == "ping":
                say(peer, "pong", {"id": params["id"]})
            elif method == "run":
                run(peer, params)
            elif method in ("notify", "pod_event"):
                say(peer, "ack", {"id": params["id"]})
            elif method == "confirm":
                unconfirmed[:] = [x for x in unconfirmed
                                  if x[1]["id"] > params["id"]]
            elif method == "shutdown":
                raise SystemExit
        except (ValueError, KeyError, TypeError) as error:
            say(peer, "error", {"run": "", "code": "invalid_request",
                                "message": repr(error)})


server = socket.socket(socket.AF_UNIX)
server.bind(os.environ["MUSTER_POD_SOCKET"])
server.listen()
while True:
    peer, _ = server.accept()
    with peer:
        try:
            serve(peer)
        except OSError:
            pass  # the node has gone, and comes back
