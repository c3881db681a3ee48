"""What a cell's names may still mean at one point of its course: the bookkeeping behind ``dataflow``.

A name is *settled* once the cell has surely bound or deleted it: what the notebook held under it can then no
longer be seen. Settling only ever grows along a path, so the first pass through a loop is the worst case, and one
pass over the source is enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from cellferry.capture.scopes import Frame, Key, Kind, mangle, resolve

Settled = set[Key] | None
"""What is settled here; None where the course never comes by (after ``raise``)."""


class Names:
    """The names of one cell. ``reads`` and the like are what ``Flow`` says of them; see there."""

    def __init__(self) -> None:
        self.frames = [Frame(Kind.MODULE)]
        self.settled: Settled = set()
        self.certain = True
        self.open = False
        """Something ran that may have bound names nobody can foresee."""
        self.reads: set[str] = set()
        self.required: set[str] = set()
        self.binds: set[str] = set()
        self.deletes: set[str] = set()
        self.doubtful: set[str] = set()
        """Settled, but only if no context manager swallowed an exception before it came to that."""
        self.maybe: set[str] = set()
        """Used while doubtful: the notebook's value may be meant after all."""
        self._seen: set[str] = set()
        """Bound or deleted on some path up to here, functions that were only defined included."""
        self._bodies: dict[Key, list[Collection[str]]] = {}
        """By the name of a function or class of the cell: what its code reads once it is called."""
        self._inside = 0
        self._methods: list[set[str]] = []
        self._numbers = 0

    @property
    def in_function(self) -> bool:
        """Whether the code in hand runs at some later time, when its function is called."""
        return self._inside > 0

    def load(self, name: str) -> None:
        """The value of ``name`` is used."""
        certain = self.certain
        if len(self.frames) > 1:
            name = mangle(name, self.frames[-1].private)
            key = resolve(self.frames, name)
            if key is None:
                return
            if type(key) is tuple:
                if self.settled is None or key in self.settled:
                    self._run_bodies(key)
                    return
                # The class may have bound it by now, or Python takes the module's.
                certain = False
        self._load_global(name, certain)

    def _load_global(self, name: str, certain: bool) -> None:
        if self.settled is None:
            return
        if name in self.doubtful:
            self.maybe.add(name)
        if name not in self.settled:
            self.reads.add(name)
            if certain and not self.open and name not in self._seen:
                self.required.add(name)
        if name in self._bodies:
            self._run_bodies(name)

    def store(self, name: str, walrus: bool = False) -> None:
        """``name`` is bound; by ``:=`` a comprehension binds in the scope around it."""
        key = self._key(name, walrus)
        if key is None:
            return
        if self.settled is not None:
            self.settled.add(key)
        if type(key) is str:
            self.doubtful.discard(key)
            self.binds.add(key)
            self._seen.add(key)

    def delete(self, name: str) -> None:
        """``del name``: it has to be there, and is gone from then on."""
        key = self._key(name)
        if type(key) is tuple:
            # What a class body deletes is looked up among the module's names from then on.
            if self.settled is not None:
                self.settled.discard(key)
        elif type(key) is str:
            self.load(name)
            self.unbind(name)

    def lend(self, name: str) -> None:
        """``name`` is bound for the length of a handler (``except E as name``): what comes home is never it."""
        known = name in self.binds
        self.store(name)
        if not known:
            self.binds.discard(name)

    def unbind(self, name: str) -> None:
        """``name`` is gone from here on if it was bound (``except E as name`` ends)."""
        key = self._key(name)
        if type(key) is not str:
            return
        self.deletes.add(key)
        self._seen.add(key)
        if self.settled is not None:
            self.settled.add(key)

    def is_builtin(self, name: str) -> bool:
        """Whether ``name`` can still mean Python's own function here, as far as this cell goes."""
        key = self._key(name)
        return type(key) is str and (self.settled is None or key not in self.settled)

    def _key(self, name: str, walrus: bool = False) -> Key | None:
        frames = self.frames
        if len(frames) == 1:
            return name
        while walrus and frames[-1].kind is Kind.COMPREHENSION:
            frames = frames[:-1]
        return resolve(frames, mangle(name, frames[-1].private))

    # ---- code that runs later ---------------------------------------------------------------------------------------

    def begin_body(self, frame: Frame) -> tuple[object, ...]:
        """Enter a function's body: from here to ``end_body``, reads are those of a later call."""
        saved = (self.settled, self.certain, self.reads, self._bodies, self._methods)
        self.settled, self.certain, self.reads, self._bodies, self._methods = set(), False, set(), {}, []
        self._inside += 1
        self.frames.append(frame)
        return saved

    def end_body(self, saved: tuple[object, ...]) -> set[str]:
        """Leave the body; the names that a call reads from outside it."""
        found = self.reads
        self.frames.pop()
        self._inside -= 1
        self.settled, self.certain, self.reads, self._bodies, self._methods = saved  # type: ignore[assignment]
        return found

    def define(self, name: str, body: Collection[str]) -> None:
        """``name`` was bound to a function or class whose code reads ``body`` when it is called."""
        key = self._key(name)
        if self._inside or key is None:
            self.run(body)
            return
        if body:
            self._bodies.setdefault(key, []).append(body)
        if self._methods:
            self._methods[-1].update(body)

    def begin_class(self) -> None:
        """Collect what the methods of a class read."""
        self._methods.append(set())

    def end_class(self) -> set[str]:
        """What they read, for ``define``."""
        return self._methods.pop()

    def number(self) -> int:
        """A number for a class's frame, unlike any other."""
        self._numbers += 1
        return self._numbers

    def run(self, body: Iterable[str]) -> None:
        """Code that reads ``body`` may run here: a decorator or another function has got hold of it."""
        if self.settled is None:
            return
        done: set[str] = set()
        pending = list(body)
        while pending:
            name = pending.pop()
            if name in done:
                continue
            done.add(name)
            if name not in self.settled:
                self.reads.add(name)
            for inner in self._bodies.get(name, ()):
                pending.extend(inner)

    def _run_bodies(self, key: Key) -> None:
        for body in self._bodies.get(key, ()):
            self.run(body)

    def finish(self) -> None:
        """The cell has ended: its functions may be called from elsewhere, now that all its names are bound."""
        if self.settled is None:
            self.settled = set()
        for body in [body for bodies in self._bodies.values() for body in bodies]:
            self.run(body)


def join(*states: Settled) -> Settled:
    """What is settled where several paths meet."""
    alive = [state for state in states if state is not None]
    return set.intersection(*alive) if alive else None


def fork(state: Settled) -> Settled:
    """A copy for one of several paths."""
    return None if state is None else set(state)
