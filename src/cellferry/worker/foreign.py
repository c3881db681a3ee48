"""The kernel in an environment that is not the worker's own: one made for it, or an interpreter that was there before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from cellferry.environment.instances import Instance, take, versions
from cellferry.environment.places import cache_folder
from cellferry.environment.tools import clashes, tools_folder
from cellferry.errors import CellferryError, EnvironmentNotBuilt
from cellferry.worker.settings import mark_phase

BEAT_S = 1.0
_ASK = (
    "import json, sys; t = 't' * ('t' in sys.abiflags);"
    "print(json.dumps(['%d.%d' % sys.version_info[:2] + t, [p for p in sys.path if p]]))"
)


def kernel_in(folder: str, settings: dict[str, Any]) -> tuple[list[str], Instance | None]:
    """The command that runs the kernel there, and the environment taken for it, if one was made.

    Called once, by ``launcher``, before anything else runs; an error ends the worker, with advice at the end of its log.
    """
    done = threading.Event()
    threading.Thread(target=_beat, args=(folder, done), name="cellferry-beat", daemon=True).start()
    try:
        if settings.get("kernel_python"):
            python = str(Path(settings["kernel_python"]).expanduser())
            return _command(python, tools_folder(cache_folder(), _checked(python), python)), None
        told = settings["environment"]
        cache = Path(told.get("cache") or cache_folder())
        instance = take(cache / "environments", told["key"], told["python"])
        os.set_inheritable(instance.descriptor, False)
        return _command(str(instance.python), tools_folder(cache, told["python"], str(instance.python))), instance
    except CellferryError as error:
        sys.exit(str(error))
    finally:
        done.set()


def _beat(folder: str, done: threading.Event) -> None:
    """Tell the provider that the start gets on: tools for another Python may have to be fetched. uv gives up by itself."""
    while not done.wait(BEAT_S):
        mark_phase(folder, "environment")


def _command(python: str, tools: Path) -> list[str]:
    # as a script: it finds the rest of itself from where it lies, and puts that last on its path
    return [python, "-P", str(tools / "cellferry" / "guest" / "__main__.py")]


def _checked(python: str) -> str:
    """Version ("3.11") of an interpreter that was there before. Raises EnvironmentNotBuilt if it is none, or if packages of
    its environment would come before the kernel's own tools and do not fit them."""
    try:
        minor, found = look_into(python)
    except (OSError, subprocess.CalledProcessError) as error:
        raise EnvironmentNotBuilt(
            f"env=python:{python}: that is no Python on the worker ({error})",
            "for example: env=python:/opt/venv/bin/python",
        ) from error
    if minor.endswith("t"):
        raise EnvironmentNotBuilt(
            f"env=python:{python}: a free-threaded Python ({minor}) cannot run remote cells",
            f"name one of the usual build, {minor[:-1]}",
        )
    wrong = clashes(found)
    if wrong:
        raise EnvironmentNotBuilt(
            f"env=python:{python}: {'; '.join(wrong)}", f"{python} -m pip install --upgrade {' '.join(w.split()[0] for w in wrong)}"
        )
    return minor


def look_into(python: str) -> tuple[str, dict[str, str]]:
    """Version ("3.11", "3.14t" for a free-threaded one) of an interpreter, and name and version of what is on its path.

    Raises OSError, CalledProcessError.
    """
    told = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=True, cwd="/")
    minor, path = json.loads(told.stdout)
    found: dict[str, str] = {}
    for place in reversed(path):
        found |= versions(Path(place))
    return str(minor), found
