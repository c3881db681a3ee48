# What classes keep beside their variables: members of enums, registrations, descriptors of one's own.

# %%
import enum, numbers, functools, abc


class Planet(enum.Enum):
    MERCURY = (1, 2.5)
    EARTH = (2, 6.0)

    def __init__(self, n, mass):
        self.n = n
        self.mass = mass
        self.tags = []

    @property
    def double(self):
        return self.mass * 2


class Coord(bytes, enum.Enum):
    def __new__(cls, value, label, unit):
        obj = bytes.__new__(cls, [value])
        obj._value_ = value
        obj.label = label
        return obj

    PX = (0, "P.X", "km")
    PY = (1, "P.Y", "km")


class Num(enum.IntEnum):
    A = 1
    B = 2
    ALSO_A = 1

    @classmethod
    def _missing_(cls, value):
        return cls.A


class Perm(enum.Flag):
    R = 4
    W = 2
    RW = R | W

    @classmethod
    def helper(cls):
        return cls.R


class IPerm(enum.IntFlag):
    X = 1
    Y = 2


class Color(enum.StrEnum):
    RED = enum.auto()
    BLUE = enum.auto()


class Word(enum.Enum):
    @staticmethod
    def _generate_next_value_(name, start, count, last):
        return name * 2

    a = enum.auto()
    b = enum.auto()


Fun = enum.Enum("Fun", ["ONE", "TWO"])
Fun2 = enum.Flag("Fun2", {"ONE": 1, "TWO": 2})


class Order(enum.Enum):
    _ignore_ = ["q"]
    FIRST = "a"
    SECOND = "b"
    q = 1

    def __lt__(self, o):
        return self.value < o.value


class AutoNumber(enum.Enum):
    def __new__(cls, comment=""):
        value = len(cls.__members__) + 1
        obj = object.__new__(cls)
        obj._value_ = value
        obj.comment = comment
        return obj


class Fruits(AutoNumber):
    APPLE = "red"
    PEAR = "green"


p = Planet.EARTH
Planet.EARTH.mass, Coord.PX.label, Coord(0).label, Fruits.APPLE.comment, Fruits.PEAR.value
# %%
(
    Planet.EARTH.mass,
    Planet.EARTH.n,
    p is Planet.EARTH,
    Planet((1, 2.5)).double,
    Coord.PX.label,
    Coord(1).label,
    bytes(Coord.PY),
    Num(77),
    Num.ALSO_A is Num.A,
    Num.ALSO_A.name,
    Perm.RW,
    Perm.R | Perm.W is Perm.RW,
    Perm.helper(),
    IPerm.X | IPerm.Y,
    Color.RED,
    Word.b.value,
    Fun.ONE,
    Fun2.ONE | Fun2.TWO,
    sorted([Order.SECOND, Order.FIRST]),
    Fruits.APPLE.comment,
    Fruits(2).comment,
    list(Fruits),
    len(Planet),
)
# %%
Planet.EARTH.mass = 7.0
Planet.EARTH.tags.append("home")
Planet.MERCURY.extra = [1]


class Made(enum.Enum):
    ONE = (1, "uno")
    TWO = (2, "dos")

    def __init__(self, n, label):
        self.label = label


m = Made.ONE
m.label
# %%
(
    Planet.EARTH.mass,
    Planet.EARTH.tags,
    Planet.MERCURY.extra,
    Made.ONE.label,
    Made((2, "dos")).label,
    m is Made.ONE,
    p.mass,
)


# %%
class MadeTwo(enum.Enum):
    def __new__(cls, v):
        o = object.__new__(cls)
        o._value_ = v * 10
        o.orig = v
        return o

    Q = 1


x = {Made.ONE: 1, Planet.EARTH: 2, Perm.R | Perm.W: 3, Num.B: 4}
MadeTwo(10).orig, sorted(x.values())
# %%
(
    MadeTwo.Q.orig,
    MadeTwo(10) is MadeTwo.Q,
    x[Planet.EARTH],
    x[Made.ONE],
    x[Perm.RW],
    x[2],
    Perm.RW in x,
    isinstance(Perm.R, Perm),
    Perm(6),
    list(Perm),
    Perm["RW"],
)
# %%
Planet.method = lambda self: self.mass + 1
Planet.EARTH.method()
# %%
Planet.EARTH.method(), Planet.MERCURY.method(), Planet.EARTH.tags is p.tags

# %%
import abc, numbers, functools, collections.abc


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Blob:
    def area(self):
        return 1


class Mine:
    pass


numbers.Number.register(Mine)


class P(property):
    def __init__(self, f, tag="t"):
        super().__init__(f)
        self.tag = tag


class S(staticmethod):
    pass


class CM(classmethod):
    __slots__ = ("more",)


class CP(functools.cached_property):
    def __set_name__(self, owner, name):
        super().__set_name__(owner, name)
        self.owner_name = owner.__name__


class User:
    @P
    def one(self):
        return 1

    @S
    def two():
        return 2

    @CM
    def three(cls):
        return cls.__name__

    @CP
    def four(self):
        return [4]


@functools.singledispatch
def show(x):
    return "any"


@show.register
def _(x: int):
    return "int"


issubclass(Blob, Shape), isinstance(Mine(), numbers.Number)
# %%
Shape.register(Blob)


class Other:
    pass


Shape.register(Other)
collections.abc.Sequence.register(Blob)
show.register(str, lambda x: "str")
u = User()
(
    isinstance(Blob(), Shape),
    u.one,
    u.two(),
    u.three(),
    u.four,
    User.__dict__["one"].tag,
    User.__dict__["four"].owner_name,
    isinstance(Mine(), numbers.Number),
)
# %%
(
    issubclass(Blob, Shape),
    issubclass(Other, Shape),
    issubclass(Blob, collections.abc.Sequence),
    show("x"),
    show(1),
    show([]),
    type(User.__dict__["one"]).__name__,
    u.four,
)


# %%
class Late:
    pass


numbers.Integral.register(Late)
numbers.Integral.register(Mine)
show.register(list)(lambda x: "list")
User.__dict__["one"].tag = "changed"
issubclass(Late, numbers.Number)
# %%
(
    issubclass(Late, numbers.Integral),
    issubclass(Mine, numbers.Integral),
    show([]),
    User.__dict__["one"].tag,
    isinstance(Late(), numbers.Number),
    show.registry.keys() >= {int, str, list},
)
# %%
from typing import Generic, TypeVar, NamedTuple
import dataclasses

T = TypeVar("T")


class Pair(NamedTuple, Generic[T]):
    a: T
    b: T


class Stack(Generic[T]):
    def __init__(self):
        self.items = []


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    x: int

    def more(self):
        return dataclasses.replace(self, x=self.x + 1)


IntStack = Stack[int]
pair, st, fr = Pair(1, 2), Stack[int](), Frozen(1)
st.__orig_class__ == IntStack
# %%
pair2 = Pair[int](3, 4)
st.items.append(fr.more())
pair2, st.items, st.__orig_class__ is Stack[int], isinstance(pair, Pair), IntStack is Stack[int]
# %%
pair2, type(pair2) is Pair, st.items[0] == Frozen(2), st.__orig_class__ == Stack[int]
