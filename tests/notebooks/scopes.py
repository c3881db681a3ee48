# Names and where they belong: comprehensions, walrus, match, classes, loops.

# %%
x = "outer"
squares = [x * x for x in range(4)]
x, squares

# %%
if (n := len(squares)) > 3:
    print(f"{n=} {n:>5} {'nested ' + f'{x!r}'}")
filtered = [y := v for v in squares if v > 1]
y, filtered

# %%
any((hit := v) > 3 for v in squares), hit

# %%
def classify(value):
    match value:
        case 0 | 1:
            return "small"
        case int(number) if number < 0:
            return f"negative {number}"
        case [first, *rest]:
            return f"list {first} and {len(rest)}"
        case {"kind": kind, **others}:
            return f"{kind} with {sorted(others)}"
        case str() as text:
            return text.upper()
        case _:
            return "other"


[classify(v) for v in (1, -5, [1, 2, 3], {"kind": "k", "z": 1}, "word", 3.5)]

# %%
match squares:
    case [a, b, *others]:
        pass
a, b, others

# %%
match {"point": (1, 2)}:
    case {"point": (px, py)} if px < py:
        where = "above"
px, py, where

# %%
for i in range(3):
    for j in "ab":
        if j == "b":
            break
    else:
        print("never")
else:
    print("loop ended", i, j)

# %%
i, j

# %%
first, *middle, last = range(5)
(p, [q, *r]), s = (1, [2, 3, 4]), "s"
first, middle, last, p, q, r, s

# %%
class Scope:
    x = "class"
    items = [x for x in "ab"]
    y = x + "!"
    inner = [len(y) for y in ("abc",)]

    def method(self):
        return x, self.x


Scope.items, Scope.y, Scope.inner, Scope().method(), x

# %%
def reads_later():
    return not_yet


not_yet = "now"
reads_later()

# %%
def local_first(flag):
    if flag:
        x = "assigned"
    return x


local_first(True)

# %%
local_first(False)

# %%
matrix = [[r * c for c in range(3)] for r in range(3)]
flat = {(r, c): matrix[r][c] for r in range(3) for c in range(3) if r != c}
lookup = {v: k for k, v in flat.items()}
lazy = sum(v for row in matrix for v in row if v)
matrix, flat[2, 1], lookup[2], lazy

# %%
fs = {name: (lambda suffix, name=name: name + suffix) for name in ("a", "b")}
fs["a"]("x"), fs["b"]("y")

# %%
values = [1, 2, 3]
values[0], values[-1] = values[-1], values[0]
values[1:1] = [9]
k = values[0] = 50
k, values

# %%
text = f"""{x}
  {values!r:>20} {max(values, key=lambda v: -v)} {{literal}} {'a' if k else 'b'}"""
print(text)

# %%
count: int = 0
names: list[str] = []
def annotated(a: "list[Missing]", b: int = count, *args: str, key: float = 1.0, **rest) -> "Nothing":
    names.append(a)
    return a, b, args, key, rest


annotated("v", 2, "three", key=4.0, five=5)

# %%
annotated.__annotations__, names

# %%
try:
    raise KeyError("k")
except KeyError as e:
    captured = e
    result = [e.args for _ in range(2)]
"e" in globals(), captured, result

# %%
def gen():
    received = yield 1
    yield received


it = gen()
print(next(it), it.send("sent"))
del it

# %%
w = z = []
w += [1]
z is w, z

# %%
t = (1, [2])
try:
    t[1] += [3]
except TypeError as error:
    print(error)
t

# %%
o = lambda *a, k=values, **kw: (a, k is values, kw)
o(1, q=2)

# %%
while True:
    k -= 20
    if k < 0:
        break
    elif k % 20:
        continue
k

# %%
[*values, *"ab"], {**{"a": 1}, "b": 2}, print(*values, sep="-")

# %%
def star(*, only, **more): return only, more
star(**{"only": 1, "extra": 2})

# %%
1 < 2 < 3, 1 if values else 2, not x, values and "full", None or "default", -2 ** 2, 7 // -2, 2 if k else 3

# %%
a = b = c = 0; a += 1; b -= 1
a, b, c

# %%
...

# %%
# only a comment

# %%
"a string; then nothing shown";

# %%
def f():
    pass
f()
