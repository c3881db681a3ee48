# Values of every kind, most of them with a way of their own to be copied.

# %%
import datetime as dt
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from uuid import UUID

when = dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
day, span = when.date(), dt.timedelta(days=1, seconds=5)
money, third = Decimal("1.10"), Fraction(1, 3)
where = Path("some") / "file.txt"
ident = UUID(int=7)
space = SimpleNamespace(a=1, b=[2])
when, money, third, where, ident, space

# %%
when + span, money * 3, third * 3, where.suffix, ident.int, isinstance(where, Path)

# %%
space.b.append(3)
space.c = space.b
space, space.c is space.b

# %%
from zoneinfo import ZoneInfo

zoned = when.astimezone(ZoneInfo("Europe/Berlin"))
zoned.utcoffset(), zoned == when

# %%
huge, tiny, nothing = 10**500, 5e-324, (None, ..., NotImplemented)
parts = slice(1, 10, 2), range(0, 100, 7), complex(1, -0.0), float("inf")
nothing[1] is ..., parts[1][3], huge % 97, tiny > 0

# %%
nothing, parts, huge == 10**500, nothing[2] is NotImplemented

# %%
import operator
import re
import string

get = operator.itemgetter("k", 0)
attr = operator.attrgetter("a")
call = operator.methodcaller("upper")
template = string.Template("hello $who")
compiled = re.compile("(a+)(?P<b>b)", re.I)
match_groups = compiled.match("AAb").groupdict()
get({"k": 1, 0: 2}), attr(space), call("x"), template.substitute(who="you"), match_groups

# %%
call("again"), compiled.pattern, compiled.flags == re.compile("(a+)(?P<b>b)", re.I).flags


# %%
class Reduced:
    def __init__(self, a, b):
        self.a, self.b = a, b
        self.made = "by init"

    def __reduce__(self):
        return (type(self), (self.a, self.b))


class Stateful:
    def __init__(self):
        self.kept, self.dropped = [1], "not kept"

    def __getstate__(self):
        return {"kept": self.kept}

    def __setstate__(self, state):
        self.__dict__.update(state, dropped="not kept")


class NewArgs(tuple):
    def __new__(cls, *items):
        return super().__new__(cls, items)

    def __getnewargs__(self):
        return tuple(self)


reduced, stateful, newargs = Reduced(1, [2]), Stateful(), NewArgs(1, "two")
reduced.b.append(3)
reduced.b, stateful.kept, newargs

# %%
stateful.kept.append(2)
print(reduced.a, reduced.b, reduced.made, stateful.kept, newargs, type(newargs).__name__)


# %%
class Slotted:
    __slots__ = ("x", "y")

    def __init__(self, x):
        self.x = x


class SlottedChild(Slotted):
    __slots__ = ("z",)


slotted = SlottedChild([1])
slotted.z = slotted.x
hasattr(slotted, "y"), slotted.z is slotted.x

# %%
slotted.x.append(2)
slotted.y = "set later"
slotted.z, slotted.y


# %%
class Meters(float):
    def __repr__(self):
        return f"{float(self)} m"


class Name(str):
    origin = "notebook"


class Bits(int):
    pass


length, name, bits = Meters(2.5), Name("n"), Bits(5)
name.note = "strings can carry attributes"
length, name, bits

# %%
length + 1, name.note, name.origin, bits << 1, type(bits).__name__

# %%
import weakref


class Target:
    def __init__(self, n):
        self.n = n


target = Target(1)
reference = weakref.ref(target)
values = weakref.WeakValueDictionary(t=target)
reference() is target, values["t"].n

# %%
target.n = 2
reference().n, values["t"] is target

# %%
import copy

original = {"a": [1, {"b": 2}]}
shallow, deep = copy.copy(original), copy.deepcopy(original)
original["a"][1]["b"] = 99

# %%
shallow["a"][1]["b"], deep["a"][1]["b"], shallow["a"] is original["a"]

# %%
from array import array

numbers = array("i", [1, 2, 3])
window = memoryview(bytearray(b"abcdef"))
numbers[0] = 10
window[0] = ord("Z")
numbers, bytes(window[:2])

# %%
import types
import typing

alias = list[int]
union = int | None
optional = typing.Optional[str]
callable_type = typing.Callable[[int], str]
proxy = types.MappingProxyType({"k": 1})
alias, union, optional, proxy["k"]

# %%
alias, union == typing.Optional[int], callable_type

# %%
Movie = typing.TypedDict("Movie", {"title": str})
film: Movie = {"title": "t"}
UserId = typing.NewType("UserId", int)
Literal = typing.Literal["a"]
film, UserId(5), Literal

# %%
import itertools

endless = itertools.count(10, 5)
next(endless)

# %%
text = "surrogate \udc80", "nul\0", "e\u0301", "\U0001f600"
[len(t) for t in text], text[1] == "nul\x00"

# %%
from dataclasses import dataclass, field
import email.message
import fractions


@dataclass(slots=True)
class Config:
    options: dict = field(default_factory=dict)
    parent: "Config | None" = None


top = Config({"a": 1})
low = Config(parent=top)
low.parent.options["b"] = 2
top

# %%
low.parent is top, top.options, low == Config(parent=top)

# %%
message = email.message.EmailMessage()
message["Subject"] = "hello"
message.set_content("body")
str(message["Subject"])

# %%
message["To"] = "someone"
message.keys()

# %%
import ast
import ipaddress

tree = ast.parse("a + b")
address = ipaddress.ip_network("10.0.0.0/30")
ast.unparse(tree), list(address.hosts())

# %%
tree.body[0].value.left.id = "changed"
ast.unparse(tree), address.num_addresses
