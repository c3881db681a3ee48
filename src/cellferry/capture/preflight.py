"""The path to a value that cannot leave this process, for the error that says so.

Asked once pickling has failed, so it may take a moment, but nothing that it looks at may notice: no property, no
``__getattr__``, no method of the user's runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from cellferry.capture.inside import Step, by_name, inside
from cellferry.capture.stuck import Sort, Verdicts, class_name, is_standard_stream, stuck_reason, stuck_sort
from cellferry.errors import CannotTravel

MAX_OBJECTS = 200_000
"""Values looked at before the search is given up; some seconds at most."""

_LEAVES = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None), type(...), range, slice})


@dataclass(frozen=True)
class Culprit:
    """The first value found that is bound to this process.

    ``path`` is how it is reached from a name of the notebook (``model.logger.handlers[0].stream``), ``reason`` reads
    on after "is", ``remedy`` is what to type next.
    """

    path: str
    type_name: str
    reason: str
    remedy: str

    def error(self) -> CannotTravel:
        """What to tell the user."""
        what = f"{self.path} ({self.type_name}) cannot travel: it is {self.reason}; nothing was sent"
        return CannotTravel(what, self.remedy, self.path)


class _Place:
    """A value, and how it was reached. The path is put together only for the one that is shown."""

    __slots__ = ("label", "parent", "value")

    def __init__(self, value: object, label: str, parent: _Place | None) -> None:
        self.value, self.label, self.parent = value, label, parent

    def path(self) -> str:
        labels: list[str] = []
        place: _Place | None = self
        while place is not None:
            labels.append(place.label)
            place = place.parent
        return "".join(reversed(labels))


def find_culprit(roots: Mapping[str, object], max_objects: int = MAX_OBJECTS) -> Culprit | None:
    """The value nearest to one of ``roots`` (names of the notebook and their values) that cannot travel.

    None if none was found among the first ``max_objects`` values. What an object leaves out of its own state
    (``__getstate__`` and the like) is suspected only if nothing else is to blame.
    """
    verdicts: Verdicts = {}

    def stuck(value: object) -> Sort | None:
        sort = stuck_sort(value, verdicts)
        return None if sort is None or (issubclass(type(value), type) and by_name(value)) else sort

    found = _search(roots, lambda value: stuck(value) is not None, max_objects)
    sort = stuck(found.value) if found is not None else None
    return _culprit(found, sort) if found is not None and sort is not None else None


def path_to(wanted: object, roots: Mapping[str, object], max_objects: int = MAX_OBJECTS) -> str:
    """How this very value is reached from one of ``roots``; "" if it was not met."""
    found = _search(roots, lambda value: value is wanted, max_objects)
    return found.path() if found is not None else ""


def _search(roots: Mapping[str, object], is_it: Callable[[object], bool], max_objects: int) -> _Place | None:
    surely = deque(_Place(value, name, None) for name, value in roots.items())
    perhaps: deque[_Place] = deque()
    # The values themselves are kept: some are made while looking, and a freed one's id would be given out again.
    seen: dict[int, object] = {}
    while surely or perhaps:
        place = (surely or perhaps).popleft()
        value = place.value
        if id(value) in seen or is_standard_stream(value):
            continue
        if len(seen) >= max_objects:
            return None
        seen[id(value)] = value
        if is_it(value):
            return place
        room = max_objects - len(surely) - len(perhaps)
        for step in islice(_worth_a_look(value, max_objects), max(room, 0)):
            (perhaps if step.doubtful else surely).append(_Place(step.value, step.label, place))
    return None


def _worth_a_look(value: object, most: int) -> Iterator[Step]:
    return (step for step in islice(inside(value), most) if type(step.value) not in _LEAVES)


def _culprit(place: _Place, sort: Sort) -> Culprit:
    name = class_name(type(place.value)).removeprefix("builtins.").removeprefix("__main__.")
    return Culprit(place.path(), name.lstrip("_"), sort.what, sort.remedy)


__all__ = ["MAX_OBJECTS", "Culprit", "find_culprit", "path_to", "stuck_reason"]
