"""Whether a cell may depend on the hashes of texts, which differ between two Pythons that drew their own seeds."""

from __future__ import annotations

from collections.abc import Container, Iterable
from types import FunctionType

from cellferry.capture.globals_of import code_globals, code_names
from cellferry.capture.stuck import class_dict, class_mro, travels_its_own_way


def note(worker: str, *, seed_known: bool) -> str:
    """What to say of a worker that hashes texts in another way. ``seed_known``: a new worker would start with this notebook's seed."""
    remedy = (
        f"end this worker, whose seed is of another notebook: %remote down {worker}"
        if seed_known
        else 'start the notebook with PYTHONHASHSEED=0 in its environment, or use the kernel "Python 3 (cellferry)"'
    )
    return (
        "hashes of texts differ here and on the worker (each Python draws its own seed), so that a split by hash() has other members "
        f"there and an object that keeps its hash is not found: {remedy}"
    )


def depends_on_hashes(
    reads: Container[str], namespace: Container[str], functions: Iterable[FunctionType], kinds: Iterable[type]
) -> bool:
    """Whether the cell (the names that it reads) or a function that goes with it calls ``hash``, or a type of what is sent
    keeps the hash that it has computed."""
    if "hash" not in namespace and ("hash" in reads or any("hash" in code_globals(f.__code__) for f in functions)):
        return True
    return any(keeps_hash(kind) for kind in kinds)


def keeps_hash(kind: type) -> bool:
    """Whether ``__hash__`` of the class reads an attribute that is named for a hash (``self._hash``)."""
    if travels_its_own_way(kind):  # it says what travels of it, and makes its hash anew
        return False
    for owner in class_mro(kind):
        method = class_dict(owner).get("__hash__")
        if method is not None:
            names = code_names(method.__code__) if type(method) is FunctionType else ()
            return any(name == "_hash" or ("hash" in name and name.strip("_") != "hash") for name in names)
    return False
