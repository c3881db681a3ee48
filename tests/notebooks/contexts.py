# Context managers, filters and settings that hold for a while.

# %%
from contextlib import ExitStack, chdir, closing, contextmanager, nullcontext, redirect_stdout, suppress
import io


@contextmanager
def tag(name, log=[]):
    log.append(f"<{name}>")
    try:
        yield log
    except ValueError as error:
        log.append(f"caught {error}")
    finally:
        log.append(f"</{name}>")


with tag("a") as log, tag("b"):
    log.append("body")
log

# %%
with tag("c"):
    raise ValueError("swallowed")
log[-2:]

# %%
with suppress(KeyError):
    {}["missing"]
    print("not printed")
"went on"

# %%
stream = io.StringIO()
with redirect_stdout(stream):
    print("caught")
stream.getvalue()

# %%
with ExitStack() as stack:
    for n in range(3):
        stack.callback(log.append, n)
    log.append("inside")
log[-4:]


# %%
class Managed:
    depth = 0

    def __enter__(self):
        Managed.depth += 1
        return self

    def __exit__(self, kind, value, trace):
        Managed.depth -= 1
        return kind is ZeroDivisionError


managed = Managed()
with managed as inside, managed:
    print(Managed.depth, inside is managed)
    1 / 0
Managed.depth

# %%
with managed:
    undefined_attribute = managed.nothing

# %%
Managed.depth, "undefined_attribute" in globals()

# %%
from decimal import Decimal, localcontext

with localcontext() as context:
    context.prec = 5
    short = Decimal(1) / 3
short, Decimal(1) / 3

# %%
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    warnings.warn("silent")
    print("nothing shown")

# %%
with warnings.catch_warnings():
    warnings.simplefilter("error")
    warnings.warn("becomes an error")

# %%
import os
import tempfile

with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "f.txt"), "w") as file:
        file.write("gone soon")
    existed = os.path.exists(file.name)
was_there = existed, os.path.exists(folder), file.closed
del folder, file
was_there

# %%
import numpy as np

with np.printoptions(precision=2):
    print(np.array([1 / 3]))
np.array([1 / 3])

# %%
import pandas as pd

with pd.option_context("display.max_rows", 4):
    print(pd.DataFrame({"n": range(10)}))

# %%
with (
    nullcontext(1) as one,
    nullcontext([2]) as two,
):
    two.append(one)
two

# %%
import contextvars

var = contextvars.ContextVar("var", default="nothing")


def read_var():
    return var.get()


contextvars.copy_context().run(lambda: (var.set("inside"), read_var())[1]), read_var()

# %%
os.makedirs("sub", exist_ok=True)
with chdir("sub"):
    here = os.path.basename(os.getcwd())
here, os.path.isdir("sub")
