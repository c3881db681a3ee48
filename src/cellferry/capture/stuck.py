"""Which single values are bound to this process, why, and what to do instead: by type, nothing is called on them."""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any


@dataclass(frozen=True)
class Sort:
    """A sort of value that cannot travel. ``what`` goes into "... is <what>"; ``remedy`` is what to type next."""

    what: str
    remedy: str


_IN_CELL = "create it inside the %%remote cell instead"
_FILE = Sort("an open file of this machine", "pass its path and open it inside the %%remote cell")
_SOCKET = Sort("a network connection of this process", "pass the address and connect inside the %%remote cell")
_LOCK = Sort("a lock of this process", "leave it out of the object's state (`__getstate__`), or " + _IN_CELL)
_GENERATOR = Sort("a running generator", "pass a list of its values (`list(...)`), or " + _IN_CELL)
_COROUTINE = Sort("a coroutine of this process's event loop", "await it here and pass the result, or " + _IN_CELL)
_DATABASE = Sort("a database connection", "pass the address or file name and connect inside the %%remote cell")
_CURSOR = Sort("a database cursor", "fetch the rows here (`cursor.fetchall()`) and pass them")
_POOL = Sort("a pool of workers of this process", _IN_CELL)
_THREAD = Sort("a thread of this process", "start it inside the %%remote cell instead")
_PROCESS = Sort("a process of this machine", "start it inside the %%remote cell instead")
_QUEUE = Sort("a queue between threads or processes", "pass a list of its items, or " + _IN_CELL)
_MMAP = Sort("memory mapped from a file of this machine", "pass the file's path, or a copy of its bytes")
_LOOP = Sort("an event loop of this process, or waits on one", _IN_CELL)
_CONTEXT = Sort("a context variable of this process", "pass its value (`variable.get()`)")
_FRAME = Sort("part of this process's call stack", "pass the text of it (`traceback.format_exc()`)")
_SHELL = Sort("this notebook's own shell", "call `get_ipython()` inside the %%remote cell instead")
_READER = Sort("a reader or iterator of this process", "pass a list of its items (`list(...)`), or " + _IN_CELL)
_ITERATOR = Sort(
    "an iterator of itertools, which this Python cannot pickle",
    "make it inside the %%remote cell instead, or pass a list of the items that are left (`list(...)`) where it ends",
)
_POINTER = Sort("a pointer into this process's memory", _IN_CELL)
_SESSION = Sort("a connection or session of this process", _IN_CELL)
_MAPPED = Sort(
    "a declarative class of SQLAlchemy, tied to its registry in this process",
    "write the models to a .py file beside the notebook and import them, or define them inside the %%remote cell",
)
_SCRIPTED = Sort("compiled by TorchScript in this process", "pass the weights (`state_dict()`) and script it inside the %%remote cell")
_COMPILED = Sort(
    "memory of numba's in this process", "pass a plain list, dict or array of it, or create it inside the %%remote cell instead"
)
_MATRIX = Sort("a booster's own copy of its data", "pass the arrays or frames that it was made of, and make it inside the %%remote cell")
_WIDGET = Sort("a widget that lives in this notebook", "pass its value (`widget.value`), or " + _IN_CELL)

_BY_NAME: dict[str, Sort] = {
    name: sort
    for sort, names in {
        _FILE: "_io.FileIO _io.BufferedReader _io.BufferedWriter _io.BufferedRandom _io.BufferedRWPair "
        "_io.TextIOWrapper _pyio.FileIO tempfile._TemporaryFileWrapper "
        "gzip.GzipFile bz2.BZ2File lzma.LZMAFile zipfile.ZipFile zipfile.ZipExtFile tarfile.TarFile "
        "h5py._hl.base.HLObject h5py.h5f.FileID tables.file.File netCDF4._netCDF4.Dataset posix.ScandirIterator "
        "posix.DirEntry shelve.Shelf dbm.sqlite3._Database _gdbm.gdbm _dbm.dbm",
        _SOCKET: "_socket.socket socket.socket _ssl._SSLSocket ssl.SSLContext _ssl._SSLContext socket.SocketIO "
        "select.epoll select.poll selectors.BaseSelector http.client.HTTPConnection smtplib.SMTP "
        "ftplib.FTP multiprocessing.connection._ConnectionBase zmq.sugar.socket.Socket "
        "zmq.sugar.context.Context zmq.backend.cython._zmq.Socket",
        _LOCK: "_thread.lock _thread.RLock _thread._local threading.Condition threading.Semaphore threading.Event "
        "threading.Barrier multiprocessing.synchronize.SemLock _multiprocessing.SemLock threading._RLock",
        _GENERATOR: "builtins.generator builtins.async_generator",
        _COROUTINE: "builtins.coroutine builtins.coroutine_wrapper builtins.async_generator_asend "
        "builtins.async_generator_athrow _asyncio.Task _asyncio.Future asyncio.futures.Future",
        _DATABASE: "sqlite3.Connection psycopg2.extensions.connection duckdb.DuckDBPyConnection "
        "_duckdb.DuckDBPyConnection sqlalchemy.engine.base.Engine sqlalchemy.engine.base.Connection "
        "sqlalchemy.orm.session.Session pymongo.mongo_client.MongoClient",
        _CURSOR: "sqlite3.Cursor sqlite3.Blob psycopg2.extensions.cursor",
        _POOL: "concurrent.futures._base.Executor multiprocessing.pool.Pool multiprocessing.managers.BaseManager",
        _THREAD: "threading.Thread",
        _PROCESS: "subprocess.Popen multiprocessing.process.BaseProcess asyncio.subprocess.Process",
        _QUEUE: "queue.Queue _queue.SimpleQueue multiprocessing.queues.Queue multiprocessing.queues.SimpleQueue",
        _MMAP: "mmap.mmap multiprocessing.shared_memory.SharedMemory",
        _LOOP: "asyncio.events.AbstractEventLoop concurrent.futures._base.Future",
        _CONTEXT: "_contextvars.ContextVar _contextvars.Token _contextvars.Context "
        "builtins.ContextVar builtins.Token builtins.Context",
        _FRAME: "builtins.frame builtins.traceback",
        _SHELL: "IPython.core.interactiveshell.InteractiveShell ipykernel.kernelbase.Kernel",
        _READER: "_csv.reader _csv.writer _csv.Writer _hashlib.HASH _sqlite3.Row _struct.Struct zlib.Compress "
        "zlib.Decompress _struct.unpack_iterator sre.SRE_Scanner _sre.SRE_Scanner",
        _POINTER: "builtins.PyCapsule builtins.CompiledFFI _ctypes.CFuncPtr _ctypes._Pointer ctypes.CDLL "
        "_cffi_backend._CDataBase _tkinter.tkapp",
        _SESSION: "aiohttp.client.ClientSession httpx._client.BaseClient paramiko.client.SSHClient "
        "redis.connection.ConnectionPool pyspark.core.context.SparkContext pyspark.context.SparkContext "
        "pyspark.sql.session.SparkSession distributed.client.Client ray.actor.ActorHandle "
        "selenium.webdriver.remote.webdriver.WebDriver",
        _SCRIPTED: "torch.jit._script.ScriptModule torch.jit.torch.jit.ScriptFunction torch.ScriptModule",
        _COMPILED: "numba.typed.typeddict.Dict numba.typed.typedlist.List _nrt_python._MemInfo _box.Box",
        _MATRIX: "xgboost.core.DMatrix lightgbm.basic.Dataset",
        _WIDGET: "ipywidgets.widgets.widget.Widget",
        _MAPPED: "sqlalchemy.orm.decl_api.DeclarativeMeta sqlalchemy.orm.decl_api.DeclarativeAttributeIntercept "
        "sqlalchemy.orm.mapper.Mapper sqlalchemy.orm.decl_api.registry",
    }.items()
    for name in names.split()
}
SORTS: Mapping[str, Sort] = _BY_NAME
"""Type -> its sort; what ``docs/reference/limits.md`` lists."""
_CONNECTION_METHODS = frozenset({"cursor", "commit", "rollback", "close"})
_CURSOR_METHODS = frozenset({"execute", "fetchone", "fetchall", "close"})
_OWN_WAYS = ("__getstate__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__")
_PYTHON_MADE = 1 << 9
Verdicts = dict[int, tuple[type, Sort | None]]
"""By a type's id, as a metaclass may have made types unhashable: the type itself, and its sort."""

# A metaclass may answer for all of these what it likes; `type` itself does not lie and runs nothing.
class_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
class_dict: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
_class_module: Callable[[type], object] = type.__dict__["__module__"].__get__
_class_path: Callable[[type], str] = type.__dict__["__qualname__"].__get__
_class_flags: Callable[[type], int] = type.__dict__["__flags__"].__get__


def class_origin(cls: type) -> tuple[object, str]:
    """The module that a class says it is from, and its name there (``Class.Inner``)."""
    return _class_module(cls), _class_path(cls)


def class_name(cls: type) -> str:
    """``module.Class.Inner``."""
    return f"{_class_module(cls)}.{_class_path(cls)}"


def made_in_python(cls: type) -> bool:
    """Whether ``cls`` comes from a ``class`` statement (or a C type made like one)."""
    return bool(_class_flags(cls) & _PYTHON_MADE)


def stuck_sort(value: object, verdicts: Verdicts | None = None) -> Sort | None:
    """What sort of stuck value ``value`` is by itself; None if it can travel, or if only something in it cannot.

    ``verdicts`` remembers what was found of each type; for whoever asks about many values.
    """
    cls = type(value)
    verdict = verdicts.get(id(cls)) if verdicts is not None else None
    if verdict is None:
        verdict = (cls, _sort_of(cls))
        if verdicts is not None:
            verdicts[id(cls)] = verdict
    sort = verdict[1]
    return None if sort is None or is_standard_stream(value) else sort


def stuck_reason(value: object) -> str | None:
    """Why this one value cannot leave the process ("an open file of this machine"); None if it can.

    Only the value itself is judged, not what it holds: ``find_culprit`` looks inside.
    """
    sort = stuck_sort(value)
    return sort.what if sort is not None else None


def is_standard_stream(value: object) -> bool:
    """``sys.stdout`` and its like: they are sent by name and mean the worker's own."""
    return (
        any(value is stream for stream in _standard_streams())
        or class_name(type(value)) == "ipykernel.iostream.OutStream"
    )


def travels_its_own_way(cls: type) -> bool:
    """Whether a class says itself what of it travels (``__getstate__``, ``__reduce__`` ...), or ``copyreg`` does."""
    if any(known is cls for known in list(copyreg.dispatch_table)):
        return True
    owners = (owner for owner in class_mro(cls) if owner is not object)
    return any(name in class_dict(owner) for owner in owners for name in _OWN_WAYS)


def _standard_streams() -> tuple[object, ...]:
    return (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)


def _sort_of(cls: type) -> Sort | None:
    for owner in class_mro(cls):
        sort = _BY_NAME.get(class_name(owner))
        if sort is not None:
            # A subclass in Python may know how to travel although its base does not.
            return None if _overrides(cls, owner) else sort
    if travels_its_own_way(cls):
        return None
    if _class_module(cls) == "itertools":  # since 3.14 none of them says how it travels
        return _ITERATOR
    methods = {name for owner in class_mro(cls) for name in class_dict(owner)}
    if methods >= _CURSOR_METHODS:
        return _CURSOR
    return _DATABASE if methods >= _CONNECTION_METHODS else None


def _overrides(cls: type, owner: type) -> bool:
    between = takewhile(lambda part: part is not owner, class_mro(cls))
    return any(name in class_dict(part) for part in between if made_in_python(part) for name in _OWN_WAYS)
