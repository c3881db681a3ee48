"""Settings that decide which numbers come out, and live in C or behind functions: of torch, jax, decimal, the interpreter."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cellferry.parcels.ambient_source import Source


def _take_torch(module: Any) -> Any:
    printing = vars(module._tensor_str.PRINT_OPTS) if hasattr(module, "_tensor_str") else {}
    return {
        "dtype": str(module.get_default_dtype()).rpartition(".")[2],
        "device": str(_torch_device(module) or "cpu"),
        "grad": module.is_grad_enabled(),
        "deterministic": (
            module.are_deterministic_algorithms_enabled(),
            module.is_deterministic_algorithms_warn_only_enabled(),
        ),
        "anomaly": module.is_anomaly_enabled(),
        "matmul": module.get_float32_matmul_precision(),
        "cudnn": (module.backends.cudnn.benchmark, module.backends.cudnn.deterministic),
        "printing": {name: value for name, value in printing.items() if isinstance(value, (bool, int, float))},
    }


def _torch_device(module: Any) -> Any:
    """The default device if one was set; ``get_default_device`` makes a tensor to find out."""
    return getattr(getattr(module.utils, "_device", None), "CURRENT_DEVICE", None)


def _give_torch(module: Any, state: Any) -> None:
    now = _take_torch(module)
    wanted = {name: value for name, value in state.items() if now.get(name) != value}
    if "dtype" in wanted:
        module.set_default_dtype(getattr(module, wanted["dtype"]))
    if "grad" in wanted:
        module.set_grad_enabled(wanted["grad"])
    if "deterministic" in wanted:
        mode, warn_only = wanted["deterministic"]
        module.use_deterministic_algorithms(mode, warn_only=warn_only)
    if "anomaly" in wanted:
        module.autograd.set_detect_anomaly(wanted["anomaly"])
    if "matmul" in wanted:
        module.set_float32_matmul_precision(wanted["matmul"])
    if "cudnn" in wanted:
        module.backends.cudnn.benchmark, module.backends.cudnn.deterministic = wanted["cudnn"]
    if "printing" in wanted:
        vars(module._tensor_str.PRINT_OPTS).update(wanted["printing"])
    if "device" in wanted:  # last: it fails where there is no such device
        module.empty(0, device=wanted["device"])
        module.set_default_device(wanted["device"])


_JAX_OF_ONE_MACHINE = (
    "jax_platform", "jax_cuda", "jax_rocm", "jax_oneapi", "jax_num_cpu", "jax_cpu_", "jax_xla_backend", "jax_backend",
    "jax_compilation_cache", "jax_persistent_cache", "jax_distributed", "jax_mock", "mock_", "jax_cross_host", "jax_pjrt",
    "jax_dump",
)  # fmt: skip


_PLAIN = frozenset([bool, int, float, str, type(None)])


def _take_jax(module: Any) -> Any:
    """Options that are plain data; those that say what the machine has stay on it."""
    values = module.config.values
    return {name: values[name] for name in _jax_names(frozenset(values)) if type(values[name]) in _PLAIN}


@lru_cache(maxsize=4)
def _jax_names(names: frozenset[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith(_JAX_OF_ONE_MACHINE))


def _give_jax(module: Any, state: Any) -> None:
    now = _take_jax(module)
    for name, value in state.items():
        if name in now and now[name] != value:
            module.config.update(name, value)


_DECIMAL = ("prec", "Emin", "Emax", "capitals", "clamp", "rounding")


def _take_decimal(module: Any) -> Any:
    context = module.getcontext()
    traps = sorted(signal.__name__ for signal, on in context.traps.items() if on)
    return {name: getattr(context, name) for name in _DECIMAL} | {"traps": traps}


def _give_decimal(module: Any, state: Any) -> None:
    """Into the context that is in force, in place: another one would last no longer than this task."""
    context = module.getcontext()
    for name in _DECIMAL:
        setattr(context, name, state[name])
    for signal in context.traps:
        context.traps[signal] = signal.__name__ in state["traps"]


_CATEGORIES = ("LC_COLLATE", "LC_CTYPE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME")


def _take_locale(module: Any) -> Any:
    return {name: module.setlocale(getattr(module, name)) for name in _CATEGORIES}


def _give_locale(module: Any, state: Any) -> None:
    now = _take_locale(module)
    try:
        for name, value in state.items():
            if now[name] != value:
                module.setlocale(getattr(module, name), value)
    except module.Error as exc:
        raise ValueError(f"{value!r}: {exc}") from None


def _take_interpreter(module: Any) -> Any:
    return {"recursion": module.getrecursionlimit(), "digits": module.get_int_max_str_digits()}


def _give_interpreter(module: Any, state: Any) -> None:
    module.setrecursionlimit(state["recursion"])
    module.set_int_max_str_digits(state["digits"])


def _give_field_size(module: Any, state: Any) -> None:
    module.field_size_limit(state)


NUMBERS: dict[str, Source] = {
    "torch settings": Source("torch", "set_default_device", _take_torch, _give_torch),
    "jax settings": Source("jax", "config", _take_jax, _give_jax),
    "decimal context": Source("decimal", "getcontext", _take_decimal, _give_decimal),
    "locale": Source("locale", "setlocale", _take_locale, _give_locale),
    "interpreter limits": Source("sys", "setrecursionlimit", _take_interpreter, _give_interpreter),
    "csv field size": Source("csv", "field_size_limit", lambda module: module.field_size_limit(), _give_field_size),
}
