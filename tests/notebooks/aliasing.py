# Many roads to one object, most of which the changing cell never mentions.

# %%
c = [1, 2]
items = [c]
holder = {"k": c, "again": c}
pair = (c, "label")


def through_closure():
    kept = c

    def read():
        return list(kept)

    return read


read = through_closure()


def through_default(x=c):
    return sum(x)


class Box:
    shelf = c

    def __init__(self, content):
        self.content = content


box = Box(c)

# %%
c.append(3)

# %%
print(items, holder, pair, read(), through_default(), Box.shelf, box.content)
print(items[0] is c, holder["k"] is holder["again"] is c, pair[0] is c, Box.shelf is c, box.content is c)

# %%
# Changed through another road, the name itself is not mentioned.
holder["again"].append(4)
box.content.append(5)

# %%
c, read(), through_default()

# %%
# Rebound: the old object stays where it was.
c = ["new"]
items[0].append(6)

# %%
print(c, items, read(), items[0] is holder["k"], items[0] is c)

# %%
import numpy as np

base = np.arange(12.0)
view = base[2:8]
grid = base.reshape(3, 4)
column = grid[:, 1]
backwards = base[::-1]
shelf = {"base": base, "parts": [view, column]}

# %%
base[:] = base * 10
view[0] = -1

# %%
column += 0.5
print(base, view, grid, column, backwards, shelf["parts"][0], sep="\n")

# %%
grid[2] = 0
print(np.shares_memory(base, grid), np.shares_memory(view, shelf["base"]), view.base is base)
shelf["parts"][1] is column, float(backwards[0])

# %%
copy = base.copy()
copy[0] = 99
float(base[0]), np.shares_memory(copy, base)

# %%
# Rings.
ring = [1]
ring.append(ring)
left, right = {"name": "left"}, {"name": "right"}
left["other"], right["other"] = right, left

# %%
ring[0] = 2
left["other"]["other"]["name"] = "LEFT"

# %%
print(ring[1][1][0], ring[1] is ring, right["other"]["name"], right["other"] is left)

# %%
method = box.content.append
bound = box.__init__
method("by a bound method")

# %%
method("again")
print(items[0], method.__self__ is items[0], bound.__self__ is box)

# %%
one = two = {"shared": True}
three = {"shared": True}
one["only"] = "both"

# %%
two["back"] = 1
one, two, three, one is two, one == three

# %%
matrix = [[0] * 3] * 3
matrix[0][0] = 1

# %%
matrix[2][2] = 5
matrix, matrix[0] is matrix[1]

# %%
# A swap, and names that trade places.
a, b = [1], [2]
keep = [a, b]
a, b = b, a

# %%
a.append("was b")
keep, keep[1] is a, keep[0] is b
