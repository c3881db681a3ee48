# State that is no variable: globals, registries, class attributes of a module of the project, settings that live in C.

# %%
import nearby_state as state
from nearby_state import SETTINGS, Model

state.LEVEL = 5

# %%
print(state.level())

# %%
state.set_level(7)

# %%
print(state.level(), state.LEVEL)

# %%
state.LEVEL = 1


@state.register
def first():
    return "first"


# %%
print(state.level(), sorted(state.REGISTRY), state.REGISTRY["first"]())
state.SEEN.add("seen")

# %%
state.SETTINGS["paths"]["data"] = "there"
Model.rate = 3
Model.kinds.append("kind")

# %%
print(state.data(), SETTINGS is state.SETTINGS, SETTINGS, state.Model().go(), Model.kinds, state.SEEN)
SETTINGS["steps"].append(2)
Model.go = lambda self: "patched"
registry = state.REGISTRY

# %%
print(state.SETTINGS, Model().go(), state.Model.go is Model.go, registry is state.REGISTRY)
registry["second"] = len
state.options.debug = True
state.options.extra["key"] = [1]

# %%
print(sorted(state.REGISTRY), state.options.debug, state.options.extra)
state.options.extra["key"].append(2)
state.call(), state.bump()

# %%
print(state.options.extra, state.call(), state.bump())
original = state.level
state.level = lambda: "another"

# %%
print(state.level(), original())
state.fresh = {"new": 1}

# %%
state.level = original
del original
state.fresh["more"] = 2

# %%
print(state.level(), state.fresh)
del state.fresh

# %%
print(hasattr(state, "fresh"), [state.call() for _ in range(2)], state.bump())

# %%
import decimal
import locale

decimal.getcontext().prec = 5
locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")

# %%
print(decimal.Decimal(1) / 3, locale.setlocale(locale.LC_NUMERIC))
decimal.getcontext().rounding = decimal.ROUND_UP

# %%
print(decimal.Decimal(1) / 3)

# %%
import csv
import sys

before = csv.field_size_limit(2000)
sys.setrecursionlimit(4321)

# %%
csv.field_size_limit(), sys.getrecursionlimit()
