"""``python -P -m cellferry.guest FOLDER --control FD``: started by the worker, nobody else."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Be the worker's kernel, and end with it. Nothing else is imported before that is settled."""
    folder, control = sys.argv[1], int(sys.argv[sys.argv.index("--control") + 1])
    os.set_inheritable(control, False)
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):  # not Linux: the control socket's end says the same, a little later
        pass
    foreign = not __package__
    if foreign:  # run as a file, in an environment that cellferry is not installed in
        sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120
    from cellferry.guest.app import start

    start(folder, control, foreign=foreign)


if __name__ == "__main__":
    main()
