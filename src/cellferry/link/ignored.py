"""What ``.gitignore`` files say of the files below one folder, as git reads them."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from pathspec import GitIgnoreSpec


class Ignored:
    """The ``.gitignore`` files from the top of the repository that ``folder`` lies in (or ``folder`` itself) downwards.

    Made anew for each cell: people edit these files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._specs: dict[Path, GitIgnoreSpec | None] = {}

    @cached_property
    def _top(self) -> Path:
        places = (self._folder, *self._folder.parents)
        return next((place for place in places if (place / ".git").exists()), self._folder)

    def __contains__(self, name: object) -> bool:
        """Whether the file ``name``, relative to the folder, is ignored; what lies above the top is not.

        A rule in a deeper folder counts more, but cannot bring back a file of a folder that is ignored.
        """
        path = Path(os.path.normpath(self._folder / str(name)))
        if not path.is_relative_to(self._top):
            return False
        steps = [path, *path.parents]
        inside = steps[: steps.index(self._top)]
        return any(self._rule(step, folder=step != path) for step in reversed(inside))

    def leaves_out(self, name: str, *, folder: bool) -> bool:
        """Whether ``name`` itself is ignored; for who comes from above, and has not entered a folder that is."""
        path = Path(os.path.normpath(self._folder / name))
        return path.is_relative_to(self._top) and self._rule(path, folder=folder)

    def _rule(self, path: Path, *, folder: bool) -> bool:
        place = path.parent
        while place.is_relative_to(self._top):
            spec = self._spec(place)
            if spec is not None:
                relative = path.relative_to(place).as_posix() + ("/" if folder else "")
                said = spec.check_file(relative).include
                if said is not None:
                    return said
            place = place.parent
        return False

    def _spec(self, place: Path) -> GitIgnoreSpec | None:
        if place not in self._specs:
            try:
                lines = (place / ".gitignore").read_text("utf-8", "replace").splitlines()
            except OSError:
                self._specs[place] = None
            else:
                self._specs[place] = GitIgnoreSpec.from_lines(lines)
        return self._specs[place]
