# Order that must be kept, hashes that must still be found.

# %%
d = {"b": 1, "a": 2}
d["c"] = 3
d["b"] = 10
list(d), sorted({3, 1, 2})

# %%
del d["a"]
d["a"] = "last now"
list(d.items())

# %%
names = {"x", "y"}
frozen = frozenset({1, 2, (3, 4)})
nested = {frozen, frozenset()}
names |= {"z"}
sorted(names), (3, 4) in frozen, frozen in nested

# %%
names &= {"x", "z", "w"}
names.add("new")
sorted(names), frozenset({2, 1, (3, 4)}) in nested


# %%
class Key:
    def __init__(self, n):
        self.n = n

    def __hash__(self):
        return hash(self.n) % 2

    def __eq__(self, other):
        return isinstance(other, Key) and self.n == other.n

    def __repr__(self):
        return f"Key({self.n})"


k1, k2, k3 = Key(1), Key(3), Key("s")
table = {k1: "one", k2: "three", k3: "s"}
members = {k1, k2}
table[Key(3)]

# %%
table[k1], Key("s") in table, Key(1) in members, next(iter(table)) is k1

# %%
members.add(Key(5))
members.discard(Key(1))
sorted(k.n for k in members), any(k is k2 for k in members)


# %%
class Plain:
    pass


one, two = Plain(), Plain()
by_identity = {one: 1, two: 2}
crowd = {one, two}
by_identity[one], two in crowd

# %%
by_identity[two] = 22
crowd.remove(one)
by_identity[two], one in crowd, two in crowd, len(by_identity)

# %%
from collections import ChainMap, OrderedDict, UserDict, UserList, namedtuple

Row = namedtuple("Row", "a b", defaults=[0])
rows = [Row(3), Row(1, 2), Row(2)]
rows.sort(key=lambda r: r.a)
od = OrderedDict.fromkeys("dacb")
chain = ChainMap({"a": 1}, {"a": 2, "b": 3})
rows, list(od), dict(chain)

# %%
od.move_to_end("d")
chain["b"] = "front"
user = UserDict(x=1)
ul = UserList([1])
rows[0]._asdict(), list(od), chain.maps, isinstance(rows[0], Row)

# %%
user["y"] = 2
ul.append(3)
user.data, ul.data, rows.index(Row(2))


# %%
class Loud(dict):
    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.last = key

    def __missing__(self, key):
        return f"no {key}"


class Stack(list):
    limit = 3

    def push(self, x):
        self.append(x)
        del self[: -self.limit]
        return self


loud, stack = Loud(), Stack()
loud["a"] = 1
stack.push(1).push(2)
loud["zz"], loud.last

# %%
loud["b"] = 2
stack.extend([3, 4])
stack.label = "on a list"
loud.last, stack.push(5), type(stack).__name__

# %%
stack, stack.label, loud, loud["q"]

# %%
import bisect
import heapq

heap = [5, 1, 8]
heapq.heapify(heap)
heapq.heappush(heap, 0)
heapq.heappop(heap), heap

# %%
ordered = sorted(heap)
bisect.insort(ordered, 6)
ordered, min(heap), list(zip(*[iter(ordered)] * 2))

# %%
{"one": {"b": 1, "a": {3, 1, 2}}, "t": (1,), "f": frozenset([1])}

# %%
empty = [set(), frozenset(), {}, [], (), "", b""]
empty[0].add(1)
empty
