# Iterators that remember where they were.

# %%
it = iter([1, 2, 3, 4])
next(it)

# %%
next(it), list(it)

# %%
pairs = enumerate("abcd", start=1)
next(pairs)

# %%
next(pairs), next(pairs)

# %%
zipped = zip([1, 2, 3], "xyz", strict=True)
mapped = map(str.upper, ["a", "b", "c"])
kept = filter(None, [0, 1, 0, 2])
turned = reversed([1, 2, 3])
next(zipped), next(mapped), next(kept), next(turned)

# %%
list(zipped), list(mapped), list(kept), list(turned)

# %%
shared = iter(range(10))
threes = zip(shared, shared, shared)
next(threes)

# %%
next(shared), next(threes), next(shared)


# %%
class Countdown:
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if self.n <= 0:
            raise StopIteration
        self.n -= 1
        return self.n


down = Countdown(5)
next(down)

# %%
for value in down:
    if value == 2:
        break
down.n

# %%
list(down), next(down, "end")

# %%
letters = iter("héllo")
numbers = iter(range(3, 30, 5))
chars = iter(b"ab")
next(letters), next(numbers), next(chars)

# %%
"".join(letters), list(numbers), list(chars)

# %%
squares = iter({1: "one", 2: "two"}.items())
words = {"k": [1]}
view = list(words.items())
next(squares)

# %%
words["k"].append(2)
view, next(squares)

# %%
import re

matches = [m.span() for m in re.finditer(r"\d+", "a1b22c333")]
pattern = re.compile(r"(?P<digits>\d+)")
pattern.search("abc123")["digits"], matches

# %%
pattern.findall("4 5 6"), pattern.flags & re.UNICODE == re.UNICODE
