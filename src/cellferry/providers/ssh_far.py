"""What is asked of a machine with sshd, as shell scripts and the reading of their answers. Nothing here connects."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellferry.providers.gpus import QUERY, Gpus, read_gpus

FOLDERS = "/tmp/cfs-"
"""Workers' private folders there: short, since a unix socket's path is at most 107 bytes, and not in a home that may be slow."""

LOOK = f"""
echo "home=$HOME"
echo "cache=${{XDG_CACHE_HOME:-$HOME/.cache}}/cellferry"
echo "system=$(uname -s)"
echo "arch=$(uname -m)"
echo "cpus=$(getconf _NPROCESSORS_ONLN)"
echo "memory_kib=$(awk '/^MemTotal/ {{print $2}}' /proc/meminfo)"
echo "disk_kib=$(df -Pk "$HOME" | awk 'NR == 2 {{print $4}}')"
{shlex.join(QUERY)} 2>/dev/null | sed 's/^/gpu=/'
true
"""

_MINE = """
mine() { tr '\\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -qF "cellferry.worker $folder"; }
"""
_PID = """
pid=$(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' "$folder/ready.json" 2>/dev/null)
"""


@dataclass(frozen=True)
class Look:
    """A machine, as it describes itself. Sizes in bytes."""

    home: str
    cache: str
    system: str
    arch: str
    cpus: int
    memory_bytes: int
    disk_free_bytes: int
    gpus: Gpus


def read_look(told: str) -> Look:
    """From the answer of ``LOOK``. Raises ValueError when it is not one."""
    values: dict[str, str] = {}
    gpus = []
    for line in told.splitlines():
        name, equals, value = line.partition("=")
        if equals and name == "gpu":
            gpus.append(value)
        elif equals:
            values[name] = value
    try:
        return Look(
            values["home"], values["cache"], values["system"], values["arch"], int(values["cpus"]),
            int(values["memory_kib"]) << 10, int(values["disk_kib"]) << 10, read_gpus("\n".join(gpus)),
        )  # fmt: skip
    except KeyError as error:
        raise ValueError(f"it did not say its {error}") from error


def install_script(
    part: str, software: str, uv: str, python: str, sources: Sequence[str], supply: Mapping[str, str], index_host: str
) -> str:
    """Make the worker's software in ``part``, where its files have been put, and move it to ``software`` in one step.

    ``python``: ">=3.11.7,<3.12", what packages chosen for this Python may need; an older 3.11 is better than none.

    Says ``supplied`` when the index could only be reached through ``supply``, and leaves a file of that name.
    """
    q = shlex.quote
    exports = "\n".join(f"export {name}={q(value)}" for name, value in supply.items())
    return f"""
set -eu
cd {q(part)}
chmod 700 {q(uv)}
venv() {{ {q(uv)} venv -q --clear --relocatable --python "$1" venv; }}
venv {q(python)} 2>/dev/null || (
{exports or ":"}
venv {q(python)} || venv {q(python.partition(",<")[0].removeprefix(">=").rpartition(".")[0])}
)
if ! venv/bin/python -c 'import socket, sys; socket.create_connection((sys.argv[1], 443), 4)' {q(index_host)} 2>/dev/null; then
{exports or ":"}
echo supplied
: > supplied
fi
{q(uv)} pip install -q --python venv/bin/python --no-deps {shlex.join(sources)} -r requirements.txt ./*.whl
: > done
mv -T {q(part)} {q(software)} 2>/dev/null || {{ test -e {q(software)}/done; rm -rf {q(part)}; }}
"""


def start_script(settings: Mapping[str, Any], software: str, environ: Mapping[str, str], mark: str) -> str:
    """Make the worker's folder and start it, apart from this connection. Says ``folder=`` and ``pid=``.

    ``environ`` is kept in a file that only its owner can read; ``mark`` ends the texts below and is in none of them.
    """
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environ.items())
    return f"""
set -eu
umask 077
folder=$(mktemp -d {FOLDERS}XXXXXXXX)
cat > "$folder/worker.json" <<'{mark}'
{json.dumps(dict(settings))}
{mark}
cat > "$folder/environ.sh" <<'{mark}'
{exports}
{mark}
cd "$folder"
. ./environ.sh
setsid {shlex.quote(software)}/venv/bin/python -P -m cellferry.worker "$folder" </dev/null >>worker.log 2>&1 &
echo "folder=$folder"
echo "pid=$!"
"""


def wait_script(folder: str, pid: str) -> str:
    """Follow a start: a line ``phase WORD`` for each sign of progress, then ``ready`` and ``ready.json``, or ``dead`` and the
    end of the log."""
    return f"""
cd {shlex.quote(folder)}
seen=
while :; do
  if [ -f ready.json ]; then echo ready; cat ready.json; exit 0; fi
  if ! kill -0 {pid} 2>/dev/null; then echo dead; tail -n 12 worker.log; exit 1; fi
  now="$(wc -c < phase 2>/dev/null) $(tail -n 1 phase 2>/dev/null)"
  if [ "$now" != "$seen" ]; then seen=$now; echo "phase $(tail -n 1 phase 2>/dev/null)"; fi
  sleep 0.05
done
"""


def supply_script(folder: str) -> str:
    """Says the URL through which the worker of that folder gets packages from us, if it does. It holds a secret."""
    return f"""cd {shlex.quote(folder)} 2>/dev/null && \\
sed -n "s/^export HTTPS_PROXY='\\{{0,1\\}}\\(http:..cellferry:[^']*\\).*/\\1/p" environ.sh; true
"""


def alive_script(folder: str) -> str:
    """Says ``alive`` if the worker of that folder is."""
    return f"folder={shlex.quote(folder)}\n{_PID}{_MINE}\nmine && echo alive\ntrue\n"


def stop_script(folder: str, pid: str = "") -> str:
    """End the worker of that folder, everything of its session, and the folder; silent if it is gone.

    The worker ends itself within about six seconds, whatever its kernel does; after seven it is killed.
    """
    return f"""
folder={shlex.quote(folder)}
{_PID}
pid=${{pid:-{pid}}}
{_MINE}
if [ -n "$pid" ]; then
  if mine; then
    kill -TERM "$pid" 2>/dev/null
    i=0
    while mine && [ $i -lt 140 ]; do sleep 0.05; i=$((i + 1)); done
  fi
  pkill -KILL -s "$pid" 2>/dev/null
fi
case "$folder" in {FOLDERS}*) rm -rf "$folder" ;; esac
true
"""


def end_script(folder: str) -> str:
    """Why a worker ended: its own word, then the end of its log."""
    q = shlex.quote(folder)
    return f"cat {q}/ended 2>/dev/null; echo; tail -n 8 {q}/worker.log 2>/dev/null; true\n"


FIND = f"""
for folder in {FOLDERS}*; do
  [ -O "$folder" ] && [ -f "$folder/ready.json" ] || continue
{_PID}
{_MINE}
  mine || continue
  echo "$folder"
  tr -d '\\n' < "$folder/worker.json"; echo
  tr -d '\\n' < "$folder/ready.json"; echo
done
true
"""


def read_found(told: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """From the answer of ``FIND``: folder, what the worker was told, and what it told back."""
    lines = told.splitlines()
    found = []
    for folder, settings, ready in zip(lines[0::3], lines[1::3], lines[2::3], strict=False):
        try:
            found.append((folder, json.loads(settings), json.loads(ready)))
        except ValueError:
            continue  # just starting, or just being removed
    return found
