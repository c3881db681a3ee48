"""What is asked of a machine with sshd, as shell scripts and the reading of their answers. Nothing here connects."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellferry.model import PROOF_FILE
from cellferry.providers.gpus import QUERY, Gpus, read_gpus

FOLDERS = "/tmp/cfs-"
"""Workers' folders there lie in one that begins so and is the user's alone, and stays: short, since a unix socket's path is at most
107 bytes, and not in a home that may be slow. Workers of earlier versions lie there directly."""
MARK = "CELLFERRY_WORKER_FOLDER"
"""Variable by which the processes of a worker are known whose leader is gone."""

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

_ENTER = """
enter() { [ ! -L "$1" ] && cd -P "$1" 2>/dev/null && [ -O . ] && case "$(stat -c %a .)" in 700|1700) ;; *) false ;; esac; }
"""
"""Whether it is a folder of this user's alone; what is read below it from then on nobody else has put there. A worker's own has its
sticky bit set by Jupyter, some time after its start."""

_MINE = """
mine() {
  case "$pid" in ""|0|1) return 1 ;; esac
  [ -O "/proc/$pid" ] && [ "$(tr '\\0' '\\n' < "/proc/$pid/cmdline" 2>/dev/null | tail -n 2)" = "cellferry.worker
$folder" ]
}
"""
_PID = """
pid=$(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' ready.json 2>/dev/null)
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


def start_script(settings: Mapping[str, Any], software: str, environ: Mapping[str, str], mark: str, secret: str) -> str:
    """Make the worker's folder and start it, apart from this connection. Says ``folder=`` and ``pid=``.

    ``environ`` and ``secret`` are kept in files that only their owner can read; ``mark`` ends the texts below and is in none of
    them. What another user has put at the place of the folder that all lie in is left alone, and another one made.
    """
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environ.items())
    return f"""
set -eu
umask 077
{_ENTER}
mkdir -m 700 "{FOLDERS}$(id -u)" 2>/dev/null || true
parent=
for each in "{FOLDERS}$(id -u)" "{FOLDERS}$(id -u)"-*; do
  if (enter "$each"); then parent=$each; break; fi
done
[ -n "$parent" ] || parent=$(mktemp -d "{FOLDERS}$(id -u)-XXXXXXXX")
folder=$(mktemp -d "$parent/XXXXXXXX")
cat > "$folder/worker.json" <<'{mark}'
{json.dumps(dict(settings))}
{mark}
cat > "$folder/{PROOF_FILE}" <<'{mark}'
{secret}
{mark}
cat > "$folder/environ.sh" <<'{mark}'
{exports}
{mark}
cd "$folder"
. ./environ.sh
export {MARK}="$folder"
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


def known_script(folder: str) -> str:
    """What this user's other processes may know of the worker of that folder, if it is this user's: ``supply=`` and the URL through
    which it gets packages from us, ``proof=`` and the secret by which it proves who it is. Both are secrets."""
    return f"""
{_ENTER}
enter {shlex.quote(folder)} || exit 0
sed -n "s/^export HTTPS_PROXY='\\{{0,1\\}}\\(http:..cellferry:[^']*\\).*/supply=\\1/p" environ.sh 2>/dev/null
sed -n "s/^/proof=/p" {PROOF_FILE} 2>/dev/null
true
"""


def alive_script(folder: str) -> str:
    """Says ``alive`` if the worker of that folder is: this user's folder, and this user's process."""
    return f"folder={shlex.quote(folder)}\n{_ENTER}{_MINE}\nenter \"$folder\" || exit 0\n{_PID}\nmine && echo alive\ntrue\n"


def stop_script(folder: str, pid: str = "") -> str:
    """End the worker of that folder, everything of its session, and the folder; silent if it is gone.

    The worker ends itself within about six seconds, whatever its kernel does; after seven it is killed. Nothing is touched but
    what is provably the worker's: a folder of this user's alone, this user's process with the worker's own command line, what is
    left in its session, and, where that process was gone before, what has inherited ``MARK``.
    """
    return f"""
folder={shlex.quote(folder)}
pid={pid}
{_ENTER}
{_MINE}
marked() {{ [ -O "/proc/$1" ] && tr '\\0' '\\n' < "/proc/$1/environ" 2>/dev/null | grep -qxF "{MARK}=$folder"; }}
ours=
if enter "$folder"; then
  ours=yes
  told=$(sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' ready.json 2>/dev/null)
  pid=${{told:-$pid}}
fi
cd /
if mine; then
  kill -TERM "$pid" 2>/dev/null
  i=0
  while mine && [ $i -lt 140 ]; do sleep 0.05; i=$((i + 1)); done
  # the number of a session is not given out again while anybody is in it
  if mine || [ ! -e "/proc/$pid" ]; then pkill -KILL -s "$pid" 2>/dev/null; fi
else
  case "$pid" in ""|0|1) ;; *)
    for each in $(pgrep -s "$pid"); do
      if marked "$each"; then kill -KILL "$each" 2>/dev/null; fi
    done ;;
  esac
fi
case "$ours $folder" in "yes {FOLDERS}"*) rm -rf "$folder" ;; esac
true
"""


def end_script(folder: str) -> str:
    """Why a worker ended: its own word, then the end of its log."""
    return f"{_ENTER}enter {shlex.quote(folder)} || exit 0\ncat ended 2>/dev/null; echo; tail -n 8 worker.log 2>/dev/null; true\n"


FIND = f"""
{_ENTER}
{_MINE}
for folder in {FOLDERS}* {FOLDERS}*/*; do (
  enter "$folder" && [ -f ready.json ] || exit 0
{_PID}
  mine || exit 0
  echo "$folder"
  tr -d '\\n' < worker.json; echo
  tr -d '\\n' < ready.json; echo
) done
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
