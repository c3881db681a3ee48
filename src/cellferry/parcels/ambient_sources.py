"""Which hidden state of which modules goes along: global random generators, and settings that notebooks make once.

A *take* gives a state as plain data that can be compared and pickled; its *give* puts it in force. A module is never
imported to be asked, and no state refers to a class of a module that the other end may not have loaded.
"""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any

from cellferry.parcels import loggers
from cellferry.parcels.ambient_charts import CHARTS
from cellferry.parcels.ambient_numbers import NUMBERS
from cellferry.parcels.ambient_source import Source

_JUPYTERS_OWN = frozenset([
    "IPKernelApp", "asyncio", "cellferry", "ipykernel", "jupyter_client", "jupyter_server", "tornado", "traitlets",
])  # fmt: skip
"""Loggers of the software around the cells, which is set up anew in each process."""

_RC_OF_ONE_PROCESS = frozenset(["backend", "backend_fallback", "interactive", "toolbar"])


def _give_random(module: Any, state: Any) -> None:
    module.setstate(state)


def _take_numpy(module: Any) -> Any:
    name, key, position, has_gauss, gauss = module.get_state()
    return name, key.tobytes(), int(position), int(has_gauss), float(gauss)


def _give_numpy(module: Any, state: Any) -> None:
    import numpy as np

    name, key, position, has_gauss, gauss = state
    module.set_state((name, np.frombuffer(key, np.uint32), position, has_gauss, gauss))


def _take_torch(module: Any) -> Any:
    return module.get_rng_state().numpy().tobytes()


def _give_torch(module: Any, state: Any) -> None:
    module.set_rng_state(module.frombuffer(bytearray(state), dtype=module.uint8))


def _take_numpy_options(module: Any) -> Any:
    return module.get_printoptions(), module.geterr()


def _give_numpy_options(module: Any, state: Any) -> None:
    options, errors = state
    module.set_printoptions(**options)
    module.seterr(**errors)


def _flat(options: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{above}{name}."))
        else:
            found[above + name] = value
    return found


def _take_pandas(module: Any) -> Any:
    return _flat(module.options.d)


def _give_pandas(module: Any, state: Any) -> None:
    present = _flat(module.options.d)
    for name, value in state.items():
        if name in present and present[name] != value:
            module.set_option(name, value)


def _take_matplotlib(module: Any) -> Any:
    """What is not at its default. By dict's own methods: asking for the backend in the usual way would choose one."""
    default = dict(dict.items(module.rcParamsDefault))
    return {
        name: list(value) if type(value) is list else value
        for name, value in dict.items(module.rcParams)
        if value != default.get(name) and name not in _RC_OF_ONE_PROCESS
    }


def _give_matplotlib(module: Any, state: Any) -> None:
    wanted = {**dict(dict.items(module.rcParamsDefault)), **state}
    present = {*module.rcParams} - _RC_OF_ONE_PROCESS
    dict.update(module.rcParams, {name: value for name, value in wanted.items() if name in present})


def _take_sklearn(module: Any) -> Any:
    return module.get_config()


def _give_sklearn(module: Any, state: Any) -> None:
    known = module.get_config()
    module.set_config(**{name: value for name, value in state.items() if name in known})


def _pattern(found: Any) -> tuple[str, int] | None:
    return (found.pattern, found.flags) if isinstance(found, re.Pattern) else found


def _take_filters(module: Any) -> Any:
    """Filters with their category by name: loading one's module there, for a filter's sake, could take seconds."""
    return [
        (action, _pattern(message), category.__module__, category.__qualname__, _pattern(where), line)
        for action, message, category, where, line in module.filters
    ]


def _give_filters(module: Any, state: Any) -> None:
    """Those whose category is loaded here; filters that libraries made for warnings of their own here stay, last."""
    made = []
    for action, message, home, name, where, line in state:
        category = getattr(sys.modules.get(home), name, None)
        if isinstance(category, type) and issubclass(category, Warning):
            patterns = (re.compile(*text) if isinstance(text, tuple) else text for text in (message, where))
            made.append((action, next(patterns), category, next(patterns), line))
    own = [each for each in module.filters if each not in made and each[2].__module__ != "builtins"]
    warnings.resetwarnings()  # Python notices this way that its decisions so far do not hold any more
    module.filters[:] = made + own


def _take_loggers(module: Any) -> Any:
    """Levels and switches of all loggers that have any; handlers of the root alone, for libraries make some of their own."""
    found = {
        name: (logger.level, logger.propagate, logger.disabled)
        for name, logger in list(module.root.manager.loggerDict.items())
        if isinstance(logger, module.Logger) and name.partition(".")[0] not in _JUPYTERS_OWN
        if logger.level or logger.disabled or not logger.propagate
    }
    return module.root.level, loggers.handlers_of(module.root), found, module.root.manager.disable


def _give_loggers(module: Any, state: Any) -> None:
    level, handlers, named, disable = state
    module.root.setLevel(level)
    loggers.give_handlers(module.root, handlers)
    for name, (least, propagate, disabled) in named.items():
        logger = module.getLogger(name)
        logger.setLevel(least)
        logger.propagate, logger.disabled = propagate, disabled
    module.disable(disable)


SOURCES: dict[str, Source] = {
    "random": Source("random", "seed", lambda module: module.getstate(), _give_random),
    "numpy.random": Source("numpy.random", "seed", _take_numpy, _give_numpy),
    "torch": Source("torch", "get_rng_state", _take_torch, _give_torch),
    "numpy options": Source("numpy", "geterr", _take_numpy_options, _give_numpy_options),
    "pandas options": Source("pandas", "options", _take_pandas, _give_pandas),
    "matplotlib options": Source("matplotlib", "rcParams", _take_matplotlib, _give_matplotlib),
    "sklearn options": Source("sklearn", "set_config", _take_sklearn, _give_sklearn),
    "loggers": Source("logging", "root", _take_loggers, _give_loggers),
    "warning filters": Source("warnings", "filters", _take_filters, _give_filters),
    **NUMBERS,
    **CHARTS,
}
