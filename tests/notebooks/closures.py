# Functions that remember.

# %%
def counter(start=0):
    count = start

    def up(by=1):
        nonlocal count
        count += by
        return count

    def peek():
        return count

    return up, peek


up, peek = counter(10)
up()

# %%
up(5)
print(peek())

# %%
up()
peek(), up is not peek

# %%
late = [lambda: i for i in range(3)]
early = [lambda i=i: i for i in range(3)]
[f() for f in late], [f() for f in early]

# %%
factor = 2


def scale(x):
    return x * factor


scale(21)

# %%
# The function sees the new value of the global that it names.
factor = 3
scale(21)

# %%
def scale(x):
    return -x * factor


again = scale
again(1)

# %%
factor = 4
scale(1), again(1), again is scale

# %%
def make(op):
    def apply(f):
        def inner(*args):
            calls.append((op, args))
            return f(*args)

        return inner

    calls = []
    apply.calls = calls
    return apply


log = make("add")


@log
def add(a, b):
    return a + b


add(1, 2)

# %%
add(3, 4)
log.calls

# %%
def fib(n, memo={0: 0, 1: 1}):
    if n not in memo:
        memo[n] = fib(n - 1) + fib(n - 2)
    return memo[n]


fib(30)

# %%
print(len(fib.__defaults__[0]), fib(35))

# %%
def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


even(10), odd(7)

# %%
pipeline = [str.strip, lambda s: s.replace("a", "A"), scale.__class__, sorted]
step = pipeline[1]
step(" banana ")

# %%
def outer():
    x = ["shared cell"]

    def write(v):
        nonlocal x
        x = v

    def read():
        return x

    return {"write": write, "read": read}


pair = outer()
writer = pair["write"]
writer("written through another name")

# %%
pair["read"]()

# %%
writer({"third": 3})
reader = pair["read"]
reader() is pair["read"]()

# %%
def unfilled():
    def inner():
        return later

    if False:
        later = 1
    return inner


empty = unfilled()
try:
    empty()
except NameError as error:
    print(type(error).__name__, error)

# %%
from functools import partial, reduce

plus = partial(add, 100)
print(plus(1), plus.args, reduce(add, [1, 2, 3]))

# %%
print(plus(2), len(log.calls), plus.func is add)
