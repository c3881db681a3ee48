"""``python -P -m cellferry.guest FOLDER --control FD``: started by the worker, nobody else."""

from __future__ import annotations

import sys


def main() -> None:
    folder, control = sys.argv[1], int(sys.argv[sys.argv.index("--control") + 1])
    from cellferry.guest.app import start

    start(folder, control)


if __name__ == "__main__":
    main()
