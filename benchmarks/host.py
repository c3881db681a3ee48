"""The process in which one contender lives: ``python -m benchmarks.host NAME REPLY_FD``.

Commands come as JSON lines on standard input, ``{"kind": ..., "args": {...}}``; replies go as JSON lines to REPLY_FD.
The end of standard input means: take everything down and leave.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

from benchmarks import contender as contenders

SETUP = "setup"
FIRST_TO_GO = "900"
"""If memory runs out, Linux ends what the benchmark started before anything else (inherited by every child)."""


def _private_streams(reply_fd: int) -> tuple[TextIO, TextIO]:
    """Commands and replies on descriptors that no process started by the contender inherits."""
    commands = os.fdopen(os.dup(0), "r")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.set_inheritable(reply_fd, False)
    return commands, os.fdopen(reply_fd, "w", buffering=1)


def _obey(contender: contenders.Contender, command: dict[str, Any]) -> contenders.Samples:
    if command["kind"] == SETUP:
        contender.setup()
        return {}
    return contender.steps[command["kind"]](**command["args"])


def main() -> None:
    """Serve commands until standard input ends."""
    name, reply_fd = sys.argv[1], int(sys.argv[2])
    Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    commands, replies = _private_streams(reply_fd)
    contender = contenders.create(name)
    try:
        for line in commands:
            try:
                answer: dict[str, Any] = {"samples": _obey(contender, json.loads(line))}
            except Exception as error:
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {error}"}
            replies.write(json.dumps(answer) + "\n")
    finally:
        contender.teardown()


if __name__ == "__main__":
    main()
