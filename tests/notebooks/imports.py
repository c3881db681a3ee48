# Modules: from Python, installed, beside the notebook; star imports, aliases, reloads.

# %%
import math
import os.path as osp
from collections import Counter as Count, deque
import xml.dom.minidom
import numpy as np, json

math.floor(2.5), osp.basename("/a/b"), Count("aab")["a"], np.pi > 3

# %%
json.dumps({"a": 1}), xml.dom.minidom.parseString("<a/>").documentElement.tagName, deque([1])

# %%
from math import *

floor(cos(0)), "tau" in globals()

# %%
def circle(r):
    return tau * r


round(circle(1), 4)

# %%
import nearby
from nearby import THINGS, greet

greet("you"), nearby.THINGS is THINGS

# %%
THINGS.append("added")
greet("again"), nearby.Shelf(1, 2)

# %%
from nearby import *

shelf = Shelf("a")
shelf, isinstance(shelf, nearby.Shelf), type(shelf).__module__

# %%
shelf.content.append("b")
shelf == nearby.Shelf("a", "b"), type(shelf) is Shelf

# %%
import nearby_package
from nearby_package.inner import twice as two_times
import nearby_package.part as part

nearby_package.double(4), two_times("ab"), part.double([1]), nearby_package.VERSION

# %%
part.data()

# %%
def uses_modules(x):
    import statistics
    from nearby_package.part import double

    return statistics.mean([x, double(x)])


uses_modules(3)

# %%
functions = {"sqrt": math.sqrt, "greet": greet, "double": nearby_package.double, "loads": json.loads}
functions["sqrt"](16), functions["double"](1.5), functions["loads"]("[1]")

# %%
functions["greet"] is greet, functions["sqrt"] is math.sqrt, functions["greet"]("f")

# %%
try:
    import there_is_no_such_module
except ImportError as error:
    print(type(error).__name__, error)
    there_is_no_such_module = None
there_is_no_such_module is None

# %%
import there_is_no_such_module_either

# %%
import importlib

lib = importlib.import_module("statistics")
lib.median([3, 1, 2]), importlib.reload(lib) is lib

# %%
if True:
    import itertools as it
for module in (math, lib):
    print(module.__name__)
list(it.pairwise("abc")), module is lib

# %%
nearby.bump(), nearby.bump()

# %% same side
nearby.bump(), nearby.count

# %%
nearby.patched = lambda: "patched into the module"
nearby.patched()

# %% same side
nearby.patched(), hasattr(nearby, "patched")

# %%
import sys

"nearby" in sys.modules, sys.modules["math"] is math, __import__("string").digits

# %%
mod = nearby
alias = mod
del nearby
mod.greet("by another name"), alias is mod

# %%
from datetime import datetime as dt, timedelta
from functools import reduce
import operator

dt(2024, 2, 28) + timedelta(days=2), reduce(operator.mul, [1, 2, 3])
