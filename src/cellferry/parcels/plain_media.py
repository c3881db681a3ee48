"""Arrays, tensors, tables and images as data: a description and raw memory; libraries are used only if they are loaded.

Arrays: dtype and shape as in ``.npy`` without pickle (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html);
tables: Arrow IPC (https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format); tensors: dtype, shape and
contiguous bytes, as in safetensors.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from typing import Any

from cellferry.parcels.bare import full_name
from cellferry.parcels.plain_tables import carried, check_stream

_MODES = {"1": 0, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "HSV": 3, "I": 4, "F": 4, "P": 1}
"""Modes of images, with the bytes of a pixel; "1" has eight pixels in a byte, and rows that begin with a byte."""

_TENSORS = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "bfloat16": 2, "float32": 4,
    "float64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip
"""torch's dtypes by name, with their size in bytes."""

Keep = Callable[[Any], int]
Take = Callable[[Any], Any]


def write(value: Any, keep: Keep) -> list[Any] | None:
    """The parts that describe ``value``, its memory given to ``keep``; None if it is none of these kinds."""
    kind = type(value)
    name = full_name(kind)
    if name == "numpy.ndarray":
        return _write_array(value, keep)
    np = sys.modules.get("numpy")
    if np is not None and issubclass(kind, np.generic) and not (value.dtype.hasobject or _grows(value.dtype)):
        return ["scalar", np.lib.format.dtype_to_descr(value.dtype), keep(value.tobytes())]
    if name == "torch.Tensor" or name == "torch.nn.parameter.Parameter":
        return _write_tensor(value, keep)
    if name in ("pandas.DataFrame", "pandas.core.frame.DataFrame"):
        return _write_table("frame", value, keep)
    if name in ("pandas.Series", "pandas.core.series.Series"):
        return _write_table("series", value.to_frame("value"), keep, value.name)
    if name == "pyarrow.lib.Table":
        return ["arrow", keep(_ipc(value))] if carried(value.schema) else None
    pil = sys.modules.get("PIL.Image")
    if pil is not None and issubclass(kind, pil.Image) and value.mode in _MODES:
        palette = bytes(value.getpalette() or ()) if value.mode == "P" else b""
        return ["image", value.mode, list(value.size), keep(palette), keep(value.tobytes())]
    return None


def _write_array(array: Any, keep: Keep) -> list[Any] | None:
    import numpy as np

    if array.dtype.hasobject or _grows(array.dtype):
        return None
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    flat = np.ascontiguousarray(array.T if order == "F" else array)
    memory: Any = flat.reshape(-1).view(np.uint8).data if flat.size else b""
    return ["array", np.lib.format.dtype_to_descr(array.dtype), list(array.shape), order, keep(memory)]


def _write_tensor(tensor: Any, keep: Keep) -> list[Any] | None:
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _TENSORS or str(tensor.layout) != "torch.strided" or tensor.device.type != "cpu":
        return None
    torch = sys.modules["torch"]
    flat = tensor.detach().contiguous().reshape(-1)
    memory = memoryview(flat.view(torch.uint8).numpy()) if flat.numel() else b""
    parameter = type(tensor).__name__ == "Parameter"
    return ["tensor", name, list(tensor.shape), bool(tensor.requires_grad), parameter, keep(memory)]


def _write_table(kind: str, frame: Any, keep: Keep, name: Any = None) -> list[Any] | None:
    try:
        import pyarrow

        table = pyarrow.Table.from_pandas(frame)
        memory = _ipc(table)
        check_stream(memory)  # what home would refuse is better left here
    except Exception:  # no pyarrow there, or columns that hold what Arrow has no type for
        return None
    if not (name is None or isinstance(name, (str, int))) or not carried(table.schema):
        return None
    return [kind, name, keep(memory)]


def _ipc(table: Any) -> Any:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def read(parts: list[Any], take: Take) -> Any:
    """The value of such parts; raises whatever is noticed first if they do not fit. Called by ``plain.Decoder`` alone."""
    return _READERS[parts[0]](parts[1:], take)


def _dtype(descr: Any) -> Any:
    import numpy as np

    dtype = np.lib.format.descr_to_dtype(_descr(descr))
    if dtype.hasobject or _grows(dtype):
        raise ValueError("a dtype that is no plain data")
    return dtype


def _grows(dtype: Any) -> bool:
    """Whether a text of no length is in this dtype. numpy makes one of length 1 of it in whatever it allocates, with memory that
    nobody has written: what this process has had there before."""
    if dtype.subdtype is not None:
        return _grows(dtype.subdtype[0])
    if dtype.fields:
        return any(_grows(field[0]) for field in dtype.fields.values())
    return dtype.kind in "SU" and dtype.itemsize == 0


def _descr(told: Any, depth: int = 0) -> Any:
    """JSON has no tuples; a description of fields has."""
    if isinstance(told, str):
        return told
    if depth > 8 or not isinstance(told, list):
        raise ValueError("not a dtype")
    return [
        tuple([_shape(part) if at == 2 else _named(part, at, depth) for at, part in enumerate(field)]) for field in told
    ]


def _named(part: Any, at: int, depth: int) -> Any:
    return part if at == 0 and isinstance(part, str) else tuple(part) if at == 0 else _descr(part, depth + 1)


def _shape(told: Any) -> tuple[int, ...]:
    if not all(type(n) is int and n >= 0 for n in told) or len(told) > 32:
        raise ValueError("not a shape")
    return tuple(told)


def _read_array(parts: list[Any], take: Take) -> Any:
    import numpy as np

    descr, told, order, number = parts
    dtype, shape, memory = _dtype(descr), _shape(told), take(number)
    if math.prod(shape) * dtype.itemsize != len(memory) or order not in ("C", "F"):
        raise ValueError("memory of another size")
    if len(memory):
        return np.frombuffer(memory, np.uint8).view(dtype).reshape(shape, order=order)
    return _of_no_bytes(np.zeros(shape, dtype))


def _of_no_bytes(made: Any) -> Any:
    """What a library has made of a description that takes no memory; raises ValueError if it has taken some."""
    if made.nbytes:
        raise ValueError("memory that was not sent")
    return made


def _read_scalar(parts: list[Any], take: Take) -> Any:
    import numpy as np

    descr, number = parts
    dtype, memory = _dtype(descr), take(number)
    if dtype.itemsize != len(memory):
        raise ValueError("memory of another size")
    return np.frombuffer(memory, dtype)[0] if len(memory) else _of_no_bytes(np.zeros((), dtype)[()])


def _read_tensor(parts: list[Any], take: Take) -> Any:
    name, told, grad, parameter, number = parts
    shape, memory = _shape(told), take(number)
    if math.prod(shape) * _TENSORS[name] != len(memory):
        raise ValueError("memory of another size")
    torch = importlib.import_module("torch")
    dtype = getattr(torch, name)
    made = (
        torch.frombuffer(memory, dtype=torch.uint8).view(dtype).reshape(shape)
        if len(memory)
        else torch.zeros(shape, dtype=dtype)
    )
    if parameter is True:
        return torch.nn.Parameter(made, requires_grad=grad is True)
    return made.requires_grad_() if grad is True else made


def _table(memory: Any) -> Any:
    import pyarrow

    check_stream(memory)
    table = pyarrow.ipc.open_stream(pyarrow.py_buffer(memory)).read_all()
    if not carried(table.schema):
        raise ValueError("a column of a type that does not travel")
    table.validate(full=True)
    return table


def _read_frame(parts: list[Any], take: Take) -> Any:
    _name, number = parts
    return _table(take(number)).to_pandas()


def _read_series(parts: list[Any], take: Take) -> Any:
    name, number = parts
    if not (name is None or isinstance(name, (str, int))):
        raise ValueError("not a name")
    return _table(take(number)).to_pandas()["value"].rename(name)


def _read_image(parts: list[Any], take: Take) -> Any:
    mode, told, palette, number = parts
    width, height = _shape(told)
    if mode not in _MODES:
        raise ValueError("not a mode")
    pixels, colours = bytes(take(number)), bytes(take(palette))
    if len(pixels) != ((width + 7) // 8 if mode == "1" else width * _MODES[mode]) * height:
        raise ValueError("memory of another size")  # the library would make room for it first
    image = importlib.import_module("PIL.Image").frombytes(mode, (width, height), pixels)
    if mode == "P" and colours:
        image.putpalette(colours)
    return image


_READERS: dict[str, Callable[[list[Any], Take], Any]] = {
    "array": _read_array,
    "scalar": _read_scalar,
    "tensor": _read_tensor,
    "frame": _read_frame,
    "series": _read_series,
    "arrow": lambda parts, take: _table(take(parts[0])),
    "image": _read_image,
}
