# Exceptions: where they stand, what they leave behind, and what can be done with them later.

# %%
before = 1
bound = [1, 2]
bound.append(3)
1 / 0
never = "not reached"

# %%
"never" in globals(), before, bound

# %%
def inner(x):
    values = {"a": 1}
    return values[x]


def outer(x):
    # a comment line, so that line numbers count
    return inner(x)


outer("a")

# %%
outer("missing")

# %%
def chained():
    try:
        outer("b")
    except KeyError as error:
        raise ValueError("translated") from error


chained()

# %%
try:
    chained()
except ValueError as error:
    stored = error
    cause = error.__cause__
stored, cause

# %%
type(stored).__name__, stored.args, isinstance(stored.__cause__, KeyError), stored.__cause__ is cause


# %%
class OwnError(Exception):
    """Made in the notebook."""

    def __init__(self, code, detail):
        super().__init__(f"code {code}")
        self.code, self.detail = code, detail


raise OwnError(7, ["detail"])

# %%
try:
    raise OwnError(8, {"deep": 1})
except OwnError as error:
    own = error
own.code, own.detail, str(own)

# %% same side
raise own

# %%
error_with_notes = RuntimeError("noted")
error_with_notes.add_note("first note")
error_with_notes.add_note("second note")
raise error_with_notes

# %%
raise ExceptionGroup("several", [ValueError("one"), OwnError(2, None), ExceptionGroup("inner", [KeyError("k")])])

# %%
try:
    raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])
except* ValueError as group:
    print("values", group.exceptions)
except* TypeError as group:
    print("types", group.exceptions)

# %%
import warnings

warnings.warn("look out", UserWarning)
print("went on")

# %%
def deprecated():
    warnings.warn("old", DeprecationWarning, stacklevel=2)
    return "result"


deprecated()

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warnings.warn("recorded", RuntimeWarning)
told = [(w.category.__name__, str(w.message)) for w in caught]
del caught
told

# %%
assert before == 2, f"before is {before}"

# %%
int("not a number")

# %%
[1, 2, 3][10]

# %%
None.attribute

# %%
"text" + 1

# %%
def deep(n):
    if n == 0:
        raise LookupError("at the bottom")
    deep(n - 1)


deep(4)

# %%
for i in range(5):
    if i == 3:
        raise StopIteration(i)

# %%
i

# %%
try:
    try:
        1 / 0
    finally:
        print("finally runs")
except ZeroDivisionError:
    print("and is caught")
else:
    print("not here")

# %%
import traceback

try:
    outer("printed")
except KeyError:
    print(traceback.format_exc().splitlines()[-1])

# %%
import json

json.loads("{broken")

# %%
import numpy as np

np.zeros(3) @ np.zeros(4)

# %%
with np.errstate(divide="ignore"):
    np.array([1.0]) / 0

# %%
lambda_error = lambda: undefined_name_here
lambda_error()

# %%
raise KeyboardInterrupt

# %%
class Quiet(Exception):
    def __str__(self):
        return ""


raise Quiet

# %%
exec("x = (1 +")

# %%
eval("1 / 0")

# %%
print("still alive", before)

# %%
import sys

sys.exit("leaving")