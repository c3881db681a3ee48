"""Python scripts that a cell names (``%run s.py``, ``!python s.py``): what they import from beside themselves goes along.

Reads through the ``Disk`` that the caller gives, as ``modules`` does.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence

from cellferry.capture.modules import Disk, imports_in

_MOST = 500
"""Files that scripts bring along; a larger project is a package, and travels as one."""

IsFile = Callable[[str], bool]


def with_their_imports(texts: Sequence[str], disk: Disk, is_file: IsFile) -> list[str]:
    """``texts``, which may be names of files relative to the working folder, and the local modules that the scripts among
    them import, from wherever those lie beside them: a script finds what is in its own folder."""
    found = dict.fromkeys(texts)
    scripts = [text for text in texts if text.endswith(".py") and _is_relative(text) and is_file(text)]
    if "-m" in texts:  # `python -m tool`: in the working folder
        scripts += [file for text in texts for file in _files_of("", text, disk, is_file)]
    pending = [(posixpath.dirname(script), script) for script in scripts]
    known = set(scripts)
    found.update(dict.fromkeys(scripts))
    while pending and len(known) < _MOST:
        folder, script = pending.pop()
        for name in sorted(imports_in(disk.read(script) or "")):
            fresh = [file for file in _files_of(folder, name, disk, is_file) if file not in known]
            known.update(fresh)
            found.update(dict.fromkeys(fresh))
            pending += [(folder, file) for file in fresh]
    return list(found)


def _is_relative(text: str) -> bool:
    return not text.startswith(("/", "~")) and "://" not in text


def _files_of(folder: str, module: str, disk: Disk, is_file: IsFile) -> Iterable[str]:
    """The sources of a top-level module, or of one with dots, that lies in ``folder``; none if there is no such."""
    if not module.replace(".", "").isidentifier():
        return ()
    path = posixpath.join(folder, *module.split("."))
    if is_file(f"{path}.py"):
        return (f"{path}.py",)
    return (
        list(_package(path, disk)) if any(is_file(f"{path}/{file}") for file in ("__init__.py", "__main__.py")) else ()
    )


def _package(path: str, disk: Disk) -> Iterator[str]:
    for at, folders, files in disk.walk(path):
        folders[:] = sorted(name for name in folders if name.isidentifier() and name != "__pycache__")
        yield from (posixpath.join(at, file) for file in sorted(files) if file.endswith(".py"))
