"""``python -m benchmarks``: make the environment if needed, then run ``benchmarks.run`` in it.

``--here`` runs with the present interpreter instead (it must have this project and the peers).
"""

from __future__ import annotations

import os
import sys

from benchmarks import venv


def main() -> None:
    """Replace this process by the run."""
    arguments = sys.argv[1:]
    if "--here" in arguments:
        arguments.remove("--here")
        python = sys.executable
    else:
        python = str(venv.ensure())
    os.execv(python, [python, "-m", "benchmarks.run", *arguments])


if __name__ == "__main__":
    main()
