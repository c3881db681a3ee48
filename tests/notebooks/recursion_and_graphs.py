# Structures that contain themselves, deep ones and wide ones.

# %%
loop = []
loop.append(loop)
table = {}
table["me"] = table
pair = ([],)
pair[0].append(pair)
loop, table, pair

# %%
loop[0] is loop, table["me"]["me"] is table, pair[0][0] is pair

# %%
loop.append("more")
table["n"] = 1
pair[0].append(2)
len(loop[0][0]), table["me"]["n"], len(pair[0])


# %%
class Node:
    def __init__(self, name, parent=None):
        self.name, self.parent, self.children = name, parent, []
        if parent:
            parent.children.append(self)

    def path(self):
        return (self.parent.path() if self.parent else "") + "/" + self.name


root = Node("root")
leaf = Node("leaf", Node("branch", root))
leaf.path()

# %%
leaf.parent.name = "renamed"
Node("second", root)
[child.path() for child in root.children]

# %%
root.children[0].children[0] is leaf, leaf.parent.parent is root

# %%
root.children.reverse()
leaf.parent = root
root.children.append(leaf)
leaf.path(), [c.name for c in root.children]

# %%
deep = None
for i in range(400):
    deep = [deep]
depth = 0
walk = deep
while walk is not None:
    walk, depth = walk[0], depth + 1
depth

# %%
walk = deep
for _ in range(399):
    walk = walk[0]
walk.append("at the bottom")
depth

# %%
level, steps = deep, 0
while level[0] is not None:
    level, steps = level[0], steps + 1
steps, level is walk, level

# %%
graph = {n: {"name": n, "next": []} for n in "abcd"}
for n, m in ["ab", "bc", "ca", "ad", "dd"]:
    graph[n]["next"].append(graph[m])
start = graph["a"]
[x["name"] for x in start["next"]]

# %%
start["next"].pop()
start["visited"] = True
graph["c"]["next"][0]["visited"], graph["c"]["next"][0] is start

# %%
def hanoi(n, a="A", b="B", c="C"):
    return 0 if n == 0 else hanoi(n - 1, a, c, b) + 1 + hanoi(n - 1, c, b, a)


def permutations(items):
    if len(items) < 2:
        yield list(items)
    for i, item in enumerate(items):
        if len(items) >= 2:
            for rest in permutations(items[:i] + items[i + 1 :]):
                yield [item, *rest]


hanoi(6), len(list(permutations([1, 2, 3, 4])))

# %%
hanoi(7), next(permutations("abc"))


# %%
class Linked:
    __slots__ = ("value", "next", "__weakref__")

    def __init__(self, value, next=None):
        self.value, self.next = value, next

    def __iter__(self):
        node = self
        while node:
            yield node.value
            node = node.next


linked = Linked(1, Linked(2, Linked(3)))
last = linked.next.next
last.next = Linked(4)
list(linked)

# %%
last.value = "three"
linked.next.next is last, list(linked)

# %%
class Selfish:
    def __init__(self):
        self.me = self
        self.methods = [self.ask, Selfish]

    def ask(self):
        return self.me is self


selfish = Selfish()
selfish.methods[0](), selfish.methods[1] is Selfish

# %%
selfish.ask(), selfish.methods[0].__self__ is selfish.me

# %%
wide = {i: [i] for i in range(5000)}
inside = wide[2500]
inside.append("x")

# %%
wide[2500] is inside, wide[2500], len(wide)

# %%
def forever(n):
    return forever(n + 1)


forever(0) if len(wide) < 0 else "not that"
