# Classes of the notebook: made, used across cells, made again.

# %%
from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar


@dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = field(default_factory=list)

    def moved(self, dx):
        return replace(self, x=self.x + dx)


p = Point(1.0, tags=["first"])
p

# %%
q = p.moved(2)
print(q, isinstance(q, Point), type(q) is type(p), q.tags is p.tags)

# %%
old_class = Point


@dataclass(frozen=True, order=True)
class Point:
    x: float
    y: float = 0.0

    def norm(self):
        return (self.x**2 + self.y**2) ** 0.5


r = Point(3.0, 4.0)
print(r.norm(), isinstance(p, Point), isinstance(p, old_class), r < Point(5.0))

# %%
p.moved(1), hasattr(p, "norm"), hash(r) == hash(Point(3.0, 4.0))

# %%
class Color(enum.Enum):
    RED = 1
    BLUE = 2
    ALIAS = 1

    @property
    def short(self):
        return self.name[0]


class Flags(enum.IntFlag):
    A = enum.auto()
    B = enum.auto()


chosen = Color.RED
both = Flags.A | Flags.B
chosen, both

# %%
print(chosen is Color.RED, Color(1) is chosen, Color.ALIAS is chosen, chosen.short, both == 3, Flags.A in both)
by_color = {Color.RED: "r", Color.BLUE: "b"}

# %%
by_color[chosen], by_color[Color["BLUE"]], [c.name for c in Color]

# %%
T = TypeVar("T")


class Stack(Generic[T]):
    def __init__(self) -> None:
        self._items: list[T] = []

    def push(self, item: T) -> Stack[T]:
        self._items.append(item)
        return self

    def __len__(self):
        return len(self._items)

    def __repr__(self):
        return f"{type(self).__name__}({self._items})"


class IntStack(Stack[int]):
    def total(self):
        return sum(self._items)


stack = IntStack().push(1).push(2)
stack

# %%
stack.push(3)
len(stack), stack.total(), isinstance(stack, Stack), IntStack.__mro__[1] is Stack

# %%
class Base:
    registry = {}

    def __init_subclass__(cls, **options):
        super().__init_subclass__()
        Base.registry[cls.__name__] = options

    def hello(self):
        return f"base {self.who}"

    @property
    def who(self):
        return "nobody"


class Child(Base, loud=True):
    __slots__ = ("extra",)

    @property
    def who(self):
        return "child"

    def hello(self):
        return super().hello().upper()


child = Child()
child.extra = 7
child.hello(), Base.registry

# %%
class Grandchild(Child):
    @classmethod
    def make(cls):
        return cls()

    @staticmethod
    def plain():
        return "static"


g = Grandchild.make()
print(g.hello(), Grandchild.plain(), isinstance(g, Base), sorted(Base.registry))

# %%
# A method changed on the class: every instance follows.
def shout(self):
    return f"patched {self.who}"


Base.hello = shout
g.hello(), child.hello()

# %%
Child.counter = 0
Child.counter += 1
child.__class__.counter, g.counter, child.extra

# %%
import abc


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

    def __str__(self):
        return f"{type(self).__name__} of {self.area()}"


class Square(Shape):
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2


shapes = [Square(2), Square(3)]
try:
    Shape()
except TypeError as error:
    print("TypeError", "abstract" in str(error))

# %%
print(*shapes, sep="; ")
shapes[0].side = 10
str(shapes[0])

# %%
from typing import NamedTuple


class Pair(NamedTuple):
    left: int
    right: list


pair = Pair(1, [2])
pair.right.append(3)

# %%
left, right = pair
print(pair, right is pair.right, pair._replace(left=9), isinstance(pair, tuple))

# %%
class Vector:
    def __init__(self, *v):
        self.v = v

    def __add__(self, other):
        return Vector(*(a + b for a, b in zip(self.v, other.v)))

    def __eq__(self, other):
        return isinstance(other, Vector) and self.v == other.v

    def __hash__(self):
        return hash(self.v)

    def __repr__(self):
        return f"Vector{self.v}"


v = Vector(1, 2)
known = {v: "found"}
v + Vector(1, 1)

# %%
known[Vector(1, 2)], v == Vector(1, 2), Vector(0) in known

# %%
# Again with the same name: old instances keep the old class.
class Vector:
    def __repr__(self):
        return "new Vector"


print(v, Vector(), isinstance(v, Vector), type(v) is Vector, type(v).__name__)
