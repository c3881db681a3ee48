# Names that the text of a cell does not show: tests found by enumeration, pickles, evaluated texts, frames of callers.

# %%
import pickle
import sys
import unittest

numbers = [1, 2, 3]
threshold = 2


class Numbers(unittest.TestCase):
    def test_sorted(self):
        self.assertEqual(sorted(numbers), numbers)

    def test_short(self):
        self.assertLess(len(numbers), 3)


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x


def halved(x):
    """
    >>> halved(4)
    2.0
    >>> halved(threshold)
    3.5
    """
    return x / 2


blob = pickle.dumps([Point(1), Point(2)])

# %%
suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
result = unittest.TestResult()
suite.run(result)
print(result.testsRun, [str(test) for test, _ in result.failures])
del suite, result

# %%
import unittest

outcome = unittest.main(
    argv=["x"], exit=False, verbosity=0, testRunner=unittest.TextTestRunner(open("/dev/null", "w"))
).result
print(outcome.testsRun, len(outcome.failures))
del outcome

# %%
points = pickle.loads(blob)
[p.x for p in points], type(points[0]) is Point, points == [Point(1), Point(2)]


# %%
class Side:
    """Shows values by their names, as teaching notebooks do."""

    def __init__(self, *names):
        self.names = names

    def __repr__(self):
        return "\n".join(f"{name}: {eval(name)!r}" for name in self.names)


def value(name):
    return eval(name)


def shout(statement):
    exec(statement, globals())


# %%
Side("numbers", "threshold")

# %%
value("num" + "bers").append(4)
numbers

# %%
shout("numbers.append(len(numbers)); made_by_text = threshold * 2")
numbers, made_by_text

# %%
threshold = 7
parts = ["thres", "hold"]

# %%
value("".join(parts)), value("numbers[-1] + " + "".join(parts))

# %%
import inspect
import __main__

members = [name for name, _ in inspect.getmembers(__main__, inspect.isclass) if name in ("Point", "Numbers", "Side")]
members, "halved" in dir(__main__), getattr(__main__, "thres" + "hold")


# %%
def from_caller(name):
    return sys._getframe(1).f_globals[name]


def formula(text):
    caller = sys._getframe(1)
    return eval(text, caller.f_globals, caller.f_locals)


# %%
from_caller("threshold"), formula("halved(threshold) + numbers[0]")

# %%
import pandas as pd

frame = pd.DataFrame({"a": [1, 2, 3, 9]})
condition = "a > @threshold"


def chosen(frame, condition):
    return frame.query(condition)


# %%
frame.query(condition)

# %%
len(chosen(frame, condition)), len(frame.query("a < @" + "threshold"))


# %%
def names_of_builtins():
    return "len" in vars(__builtins__), __builtins__.len is len


names_of_builtins()

# %%
names_of_builtins()


# %%
def bind(names):
    frame = sys._getframe(1)
    for name in names.split():
        frame.f_globals[name] = name * 2


# %%
bind("alpha beta")
alpha + beta

# %%
value("no_such" + "_name")

# %%
value("1 / " + "0")

# %%
alpha, beta, threshold, numbers

# %%
import doctest  # last: what it shows makes IPython leave `_` alone from then on

print(doctest.testmod())
