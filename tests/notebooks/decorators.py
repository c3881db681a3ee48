# Decorators, caches, partials, properties, descriptors, metaclasses.

# %%
import functools


def traced(prefix):
    def decorate(f):
        @functools.wraps(f)
        def wrapper(*args, **kwargs):
            wrapper.calls += 1
            print(prefix, f.__name__, args)
            return f(*args, **kwargs)

        wrapper.calls = 0
        return wrapper

    return decorate


@traced(">>")
def area(w, h=1):
    """Width by height."""
    return w * h


area(2, h=3)

# %%
area(5), area.calls, area.__name__, area.__doc__, area.__wrapped__(2, 2)

# %%
evaluated = []


@functools.lru_cache(maxsize=None)
def slow(n):
    evaluated.append(n)
    return n * n


slow(3), slow(3), slow(4), slow.cache_info().misses

# %%
slow(5), sorted(set(evaluated))

# %%
@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


fib(50)

# %%
fib(60)

# %%
power = functools.partial(pow, 2)
cube = functools.partial(lambda base, exp: base**exp, exp=3)
power(10), cube(3), power.args

# %%
@functools.singledispatch
def show(value):
    return f"any {value}"


@show.register
def _(value: int):
    return f"int {value}"


@show.register(list)
def _(value):
    return f"list of {len(value)}"


show(1), show([1, 2]), show("s")

# %%
@show.register
def _(value: str):
    return f"str {value}"


show("s"), show(2), show(2.5)


# %%
class Typed:
    def __init__(self, kind):
        self.kind = kind

    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, instance, owner):
        return self if instance is None else getattr(instance, self.name, None)

    def __set__(self, instance, value):
        if not isinstance(value, self.kind):
            raise TypeError(f"{self.name[1:]} must be {self.kind.__name__}")
        setattr(instance, self.name, value)


class Person:
    name = Typed(str)
    age = Typed(int)

    def __init__(self, name, age):
        self.name, self.age = name, age

    @property
    def initials(self):
        return self.name[0].upper()

    @initials.setter
    def initials(self, value):
        self.name = value + self.name[1:]

    @functools.cached_property
    def expensive(self):
        evaluated.append("expensive")
        return self.age * 1000


person = Person("ann", 30)
person.initials = "E"
person.name, person.expensive, person.expensive

# %%
person.age = 31
person.expensive, evaluated.count("expensive"), person.initials

# %%
person.age = "old"

# %%
class Registry(type):
    known = {}

    def __new__(mcls, name, bases, body, **options):
        cls = super().__new__(mcls, name, bases, body)
        mcls.known[name] = options
        return cls

    def __init__(cls, name, bases, body, **options):
        super().__init__(name, bases, body)

    def __call__(cls, *args, **kwargs):
        made = super().__call__(*args, **kwargs)
        made.made_by = "metaclass"
        return made

    def __len__(cls):
        return len(cls.__name__)

    def __getitem__(cls, item):
        return f"{cls.__name__}[{item}]"


class Plugin(metaclass=Registry, kind="base"):
    pass


class Special(Plugin, kind="special"):
    pass


special = Special()
Registry.known, special.made_by, len(Special), Special["x"]

# %%
class Later(Plugin, kind="later"):
    pass


sorted(Registry.known), Later().made_by, type(Later) is Registry, isinstance(Later, Registry)


# %%
@functools.total_ordering
class Version:
    def __init__(self, text):
        self.parts = tuple(map(int, text.split(".")))

    def __eq__(self, other):
        return self.parts == other.parts

    def __lt__(self, other):
        return self.parts < other.parts

    __hash__ = None


sorted([Version("1.10"), Version("1.9")])[0].parts, Version("2.0") >= Version("1.0")

# %%
def singleton(cls):
    made = {}

    @functools.wraps(cls, updated=())
    def get(*args):
        if cls not in made:
            made[cls] = cls(*args)
        return made[cls]

    return get


@singleton
class Config:
    def __init__(self, value=0):
        self.value = value


config = Config(5)
Config() is config, Config().value

# %%
config.value = 6
Config().value, Config() is config


# %%
class Attr:
    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return f"made up {name}"

    def __call__(self, *args):
        return args

    def __contains__(self, item):
        return item == "yes"


attr = Attr()
attr.anything, attr(1, 2), "yes" in attr

# %%
attr.real = "set"
attr.real, attr.other, vars(attr)

# %%
class Counted:
    instances = 0

    def __new__(cls, *args):
        cls.instances += 1
        return super().__new__(cls)

    @classmethod
    def how_many(cls):
        return cls.instances

    def __class_getitem__(cls, item):
        return f"of {item}"


Counted(), Counted(1)
Counted.how_many(), Counted[int]

# %%
Counted()
Counted.how_many()

# %%
def method(self, x):
    return (self.name, x)


Person.greet = method
person.greet(1), functools.reduce(lambda f, g: lambda v: g(f(v)), [str, len, float])("abc")
