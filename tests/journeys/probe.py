"""Runs inside the kernel under test: says what every variable of the notebook holds, as data that can be compared.

Loaded from its source, so that it needs no package there. It calls no code of the user's (no ``__repr__``, ``__eq__``
or property), keeps no reference and changes nothing. Two names that hold one mutable object give ``{"same": path}``,
arrays and tensors say with whom they share memory: aliasing is part of what is compared.
"""

from __future__ import annotations

import asyncio
import collections
import copy
import copyreg
import decimal
import enum
import hashlib
import io
import json
import pathlib
import re
import sys
import types
import weakref

MAX_DEPTH = 60
MAX_TEXT = 400
_SCALARS = (type(None), bool, int, float, complex, type(Ellipsis), type(NotImplemented), range)
_GENERATORS = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
_IMMUTABLE = (types.MappingProxyType, pathlib.PurePath, decimal.Decimal, property, staticmethod, classmethod)
"""Values that may or may not be one object, like numbers: nothing that a notebook does can tell."""
_PARTS_OF_TABLES = ("index", "attrs", "names")
"""What a frame, series or index of pandas has beside its values."""
_DUNDERS = {
    "__dict__",
    "__weakref__",
    "__module__",
    "__doc__",
    "__slotnames__",
    "__firstlineno__",
    "__static_attributes__",
    "__annotate_func__",  # what 3.14 keeps beside the annotations, or makes when somebody looks
    "__annotations_cache__",
}
_IPYTHON = re.compile(r"^(_+|_i+|_i?\d+|In|Out|_oh|_ih|_dh|get_ipython|exit|quit|__\w+__)$")


def report(namespace: dict, path: str) -> None:
    """Write ``{name: description}`` of the user's variables, and of ``Out`` and ``_``, to a file as JSON."""
    shell = namespace["get_ipython"]()
    hidden = {name for name in shell.user_ns_hidden if namespace.get(name) is shell.user_ns_hidden[name]}
    names = [n for n in namespace if not _IPYTHON.match(n) and n not in hidden]
    describer = _Describer()
    found = {name: describer.describe(namespace[name], name) for name in sorted(names)}
    found["_"] = describer.describe(namespace.get("_", ""), "_")
    for number, value in sorted(namespace["Out"].items()):
        found[f"Out[{number}]"] = describer.describe(value, f"Out[{number}]")
    describer.settle_memory()
    pathlib.Path(path).write_text(json.dumps(found))


def type_name(value: object) -> str:
    kind = type(value)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _digest(data: object) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


class _Describer:
    """One walk over a namespace. ``seen`` maps the identity of each mutable object to where it was met first."""

    def __init__(self) -> None:
        self.seen: dict[int, str] = {}
        self.keep: list[object] = []
        self.extents: list[tuple[int, int, dict]] = []

    def describe(self, value: object, path: str, depth: int = 0) -> object:
        if isinstance(value, _SCALARS) and type(value) in _SCALARS:
            return repr(value)
        if type(value) is str:
            return {
                "type": "str",
                "text": value
                if len(value) <= MAX_TEXT
                else f"{len(value)} {_digest(value.encode('utf-8', 'surrogatepass'))}",
            }
        if type(value) is bytes:
            return {"type": "bytes", "text": f"{len(value)} {_digest(value)}"}
        if type(value) in (tuple, frozenset):
            return self._immutable(value, path, depth)
        if self._from_elsewhere(value):
            return {"type": type_name(value), "name": f"{value.__module__}.{getattr(value, '__qualname__', '')}"}
        if id(value) in self.seen:
            return {"same": self.seen[id(value)], "type": type_name(value)}
        if not isinstance(value, _IMMUTABLE) and not _is(value, "pandas", "Index") and not _is(value, "numpy", "dtype"):
            self.seen[id(value)] = path
        self.keep.append(value)
        entry: dict = {"type": type_name(value)}
        if type(value).__module__ == "cellferry.parcels.placeholder":
            return {"placeholder": value.type_name, "reason": value.reason}
        if depth < MAX_DEPTH:
            self._fill(entry, value, path, depth + 1)
        return entry

    @staticmethod
    def _from_elsewhere(value) -> bool:
        """A class or function that a module has under its name: whoever imports it has the same one."""
        if (
            not isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType))
            or value.__module__ == "__main__"
        ):
            return False
        found = sys.modules.get(value.__module__ or "")
        for name in value.__qualname__.split("."):
            found = getattr(found, name, None)
        return found is value

    def _immutable(self, value, path, depth):
        if depth >= MAX_DEPTH:
            return {"type": type_name(value)}
        items = [self.describe(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        return {"type": type_name(value), "items": items if type(value) is tuple else sorted(items, key=json.dumps)}

    def _fill(self, entry, value, path, depth):
        module = type(value).__module__.partition(".")[0]
        for matches, fill in self._KINDS:
            if matches(value, module):
                fill(self, entry, value, path, depth)
                return
        self._object(entry, value, path, depth)

    # One method for each kind of value; the table below says which is for whom.

    def _name_only(self, entry, value, path, depth):
        pass

    def _named(self, entry, value, path, depth):
        entry["name"] = getattr(value, "__name__", "")

    def _file(self, entry, value, path, depth):
        entry["closed"] = value.closed
        entry["name"] = re.sub(r".*/", "", str(getattr(value, "name", "")))

    def _function(self, entry, value, path, depth):
        entry["name"] = re.sub(r"<(list|dict|set)comp>\.", "", value.__qualname__)  # which 3.12 does not say any more
        entry["code"] = _digest(value.__code__.co_code)
        entry["defaults"] = self.describe(value.__defaults__, f"{path}.__defaults__", depth)
        entry["kwdefaults"] = self.describe(value.__kwdefaults__, f"{path}.__kwdefaults__", depth)
        entry["attributes"] = self.describe(dict(value.__dict__), f"{path}.__dict__", depth)
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        # dataclasses writes methods that hold a class, which with slots is the one that was there before them, for whoever compares it
        own = "cls" if value.__code__.co_filename == "<string>" else ""
        entry["closure"] = {name: self._cell(cell, f"{path}<{name}>", depth) for name, cell in cells if name != own}

    def _cell(self, cell, path, depth):
        if id(cell) in self.seen:
            return {"same cell": self.seen[id(cell)]}
        self.seen[id(cell)] = path
        self.keep.append(cell)
        try:
            return self.describe(cell.cell_contents, path, depth)
        except ValueError:
            return "<empty cell>"

    def _method(self, entry, value, path, depth):
        entry["function"] = value.__name__
        entry["self"] = self.describe(value.__self__, f"{path}.__self__", depth)

    def _class(self, entry, value, path, depth):
        entry["name"] = f"{value.__module__}.{value.__qualname__}"
        if value.__module__ != "__main__":
            return
        entry["bases"] = [self.describe(base, f"{path}.__bases__", depth) for base in value.__bases__]
        entry["body"] = {
            name: self.describe(item, f"{path}.{name}", depth)
            for name, item in sorted(vars(value).items())
            if name not in _DUNDERS
            and not name.startswith("_abc_")
            and not isinstance(item, (types.GetSetDescriptorType, types.MemberDescriptorType))
        }

    def _wrapper(self, entry, value, path, depth):
        for name in ("fget", "fset", "fdel", "__func__", "__wrapped__", "func"):
            if getattr(value, name, None) is not None:
                entry[name] = self.describe(getattr(value, name), f"{path}.{name}", depth)

    def _exception(self, entry, value, path, depth):
        entry["args"] = self.describe(value.args, f"{path}.args", depth)
        entry["state"] = self.describe(dict(vars(value)), f"{path}.__dict__", depth)
        entry["cause"] = self.describe(value.__cause__, f"{path}.__cause__", depth)

    def _weakref(self, entry, value, path, depth):
        entry["target"] = self.describe(value(), f"{path}()", depth)

    def _task(self, entry, value, path, depth):
        entry["done"] = value.done()

    def _iterator(self, entry, value, path, depth):
        """A position in a sequence; a copy is read to its end. What kind of iterator has ended does not matter."""
        entry["type"] = "iterator"
        entry["rest"] = self.describe(tuple(copy.copy(value)), f"{path} rest", depth)

    def _array(self, entry, value, path, depth):
        flags = value.flags
        entry.update(dtype=str(value.dtype), shape=list(value.shape), strides=list(value.strides))
        entry["flags"] = [bool(flags.c_contiguous), bool(flags.f_contiguous), bool(flags.writeable)]
        if value.dtype.hasobject:
            entry["items"] = self.describe(value.tolist(), f"{path}.tolist()", depth)
        else:
            entry["data"] = _digest(value.tobytes())
        if type_name(value).endswith("MaskedArray"):
            entry["mask"] = repr(value.mask.tolist() if hasattr(value.mask, "tolist") else value.mask)
        self._memory(entry, value)

    def _memory(self, entry, array):
        import numpy

        low, high = numpy.lib.array_utils.byte_bounds(array)
        if high > low and not array.dtype.hasobject:
            self.extents.append((low, high, entry))

    def _optimizer(self, entry, value, path, depth):
        entry["groups"] = self.describe(value.param_groups, f"{path}.param_groups", depth)
        entry["state"] = self.describe(dict(value.state), f"{path}.state", depth)

    def _text(self, entry, value, path, depth):
        entry["text"] = str(value)

    def _generator_of_numbers(self, entry, value, path, depth):
        state = value.bit_generator.state if hasattr(value, "bit_generator") else value.get_state(legacy=False)
        entry["state"] = _digest(repr(state).encode())

    def _tensor(self, entry, value, path, depth):
        entry.update(dtype=str(value.dtype), shape=list(value.shape))
        entry["requires_grad"] = value.requires_grad  # the graph behind a tensor stays where it was made
        plain = value.detach()
        if value.layout is not sys.modules["torch"].strided:
            entry["values"] = repr(plain.to_dense().tolist())
            return
        entry["data"] = _digest(plain.contiguous().flatten().view(sys.modules["torch"].uint8).numpy().tobytes())
        if value.is_leaf and value.grad is not None:
            entry["gradient"] = self.describe(value.grad, f"{path}.grad", depth)
        entry["stride"] = list(value.stride())
        if value.numel():
            last = sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
            low = value.data_ptr()
            self.extents.append((low, low + (last + 1) * value.element_size(), entry))

    def _frame(self, entry, value, path, depth):
        parts = {name: getattr(value, name) for name in _PARTS_OF_TABLES if hasattr(value, name)}  # an extension array has none
        entry["parts"] = {name: self.describe(part, f"{path}.{name}", depth) for name, part in parts.items()}
        if hasattr(value, "columns"):
            entry["columns"] = self.describe(value.columns, f"{path}.columns", depth)
            entry["dtypes"] = [str(dtype) for dtype in value.dtypes]
        else:
            entry["dtype"], entry["name"] = str(value.dtype), str(getattr(value, "name", ""))
        entry["values"] = self._table(value)

    def _table(self, value):
        rows = value.to_numpy(dtype=object, copy=True).tolist() if hasattr(value, "to_numpy") else list(value)
        text = repr(rows)
        return text if len(text) <= MAX_TEXT else f"{len(rows)} rows {_digest(text.encode('utf-8', 'surrogatepass'))}"

    def _figure(self, entry, value, path, depth):
        for axes in value.get_axes():
            lines = [[_digest(line.get_xydata().tobytes()), line.get_label()] for line in axes.get_lines()]
            entry.setdefault("axes", []).append([axes.get_title(), lines])

    def _mapping(self, entry, value, path, depth):
        entry["items"] = [
            [self.describe(key, f"{path} key {i}", depth), self.describe(item, f"{path}[{i}]", depth)]
            for i, (key, item) in enumerate(_plain_kind(value, (collections.OrderedDict, dict)).items(value))
            if not (type(key) is str and key == "__builtins__")  # put there by exec
        ]
        if not hasattr(type(value), "__setstate__"):  # whoever has one decides what is kept
            self._attributes(entry, value, path, depth)

    def _sequence(self, entry, value, path, depth):
        plain = list(_plain_kind(value, (list, tuple, set, frozenset)).__iter__(value))
        items = [self.describe(item, f"{path}[{i}]", depth) for i, item in enumerate(plain)]
        entry["items"] = sorted(items, key=json.dumps) if isinstance(value, (set, frozenset)) else items
        self._attributes(entry, value, path, depth)

    def _buffer(self, entry, value, path, depth):
        entry["data"] = f"{len(value)} {_digest(bytes(value))}"

    def _object(self, entry, value, path, depth):
        entry["class"] = self.describe(type(value), f"{path}.__class__", depth)
        if self._attributes(entry, value, path, depth):
            return
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:
            return
        parts = (
            (reduced,)
            if isinstance(reduced, str)
            else tuple(list(part) if part is not None and i in (3, 4) else part for i, part in enumerate(reduced))
        )
        entry["reduced"] = self.describe(parts, f"{path}.__reduce__", depth)

    def _attributes(self, entry, value, path, depth):
        state = dict(getattr(value, "__dict__", {}))
        for name in copyreg._slotnames(type(value)):
            if hasattr(value, name):
                state[name] = getattr(value, name)
        state = {name: item for name, item in state.items() if isinstance(name, str) and name != "_dirty_len"}
        if state:
            entry["state"] = {n: self.describe(item, f"{path}.{n}", depth) for n, item in sorted(state.items())}
        return bool(state)

    _KINDS = (
        (lambda v, m: isinstance(v, types.ModuleType), _named),
        (lambda v, m: isinstance(v, _GENERATORS), _named),
        (lambda v, m: isinstance(v, io.IOBase), _file),
        (lambda v, m: isinstance(v, pathlib.PurePath) or m == "ipaddress" or _is(v, "numpy", "dtype"), _text),
        (lambda v, m: isinstance(v, types.FunctionType), _function),
        (lambda v, m: isinstance(v, types.MethodType), _method),
        (lambda v, m: isinstance(v, enum.Enum), _named),
        (lambda v, m: isinstance(v, type), _class),
        (lambda v, m: isinstance(v, (types.BuiltinFunctionType, types.CodeType, types.TracebackType)), _named),
        (lambda v, m: isinstance(v, (property, staticmethod, classmethod)) or hasattr(type(v), "cache_info"), _wrapper),
        (lambda v, m: isinstance(v, BaseException), _exception),
        (lambda v, m: isinstance(v, weakref.ref), _weakref),
        (lambda v, m: m == "builtins" and type(v).__name__.endswith("iterator"), _iterator),
        (lambda v, m: isinstance(v, asyncio.Future), _task),
        (
            lambda v, m: m in ("threading", "_thread", "asyncio", "concurrent", "logging", "sqlite3", "_contextvars"),
            _name_only,
        ),
        (lambda v, m: _is(v, "numpy", "ndarray"), _array),
        (
            lambda v, m: _is(v, "numpy.random", "Generator") or _is(v, "numpy.random", "RandomState"),
            _generator_of_numbers,
        ),
        (lambda v, m: _is(v, "torch", "Tensor"), _tensor),
        (lambda v, m: _is(v, "torch.optim", "Optimizer"), _optimizer),
        (lambda v, m: m == "torch" and type(v).__name__ == "Generator", _name_only),
        (
            lambda v, m: m == "pandas" and ((hasattr(v, "to_numpy") and hasattr(v, "dtype")) or hasattr(v, "dtypes")),
            _frame,
        ),
        (lambda v, m: m == "pandas", _name_only),
        (lambda v, m: m == "matplotlib" and hasattr(v, "get_axes"), _figure),
        (lambda v, m: m in ("matplotlib", "IPython", "ipywidgets"), _name_only),
        (lambda v, m: isinstance(v, dict), _mapping),
        (lambda v, m: isinstance(v, (list, tuple, set, frozenset)), _sequence),
        (lambda v, m: isinstance(v, (bytearray, memoryview)), _buffer),
    )

    def settle_memory(self) -> None:
        """Number the blocks of memory in the order they were met, and say where in its block each array begins."""
        blocks: list[list[int]] = []
        for low, high, _ in sorted((extent[:2] + (0,)) for extent in self.extents):
            if blocks and low < blocks[-1][1]:
                blocks[-1][1] = max(blocks[-1][1], high)
            else:
                blocks.append([low, high])
        numbers: dict[int, int] = {}
        for low, _, entry in self.extents:
            block = next(i for i, (start, end) in enumerate(blocks) if start <= low < end)
            entry["memory"] = [numbers.setdefault(block, len(numbers)), low - blocks[block][0]]


def _is(value: object, module: str, name: str) -> bool:
    """Whether a value is an instance of a class of a module, without importing that module."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _plain_kind(value: object, kinds: tuple) -> type:
    """The class of Python's own that a container is, so that no method of the user's runs."""
    return next(kind for kind in kinds if isinstance(value, kind))
