# Arrays of every shape: strided views, Fortran order, records, objects, masks, memory shared in odd ways.

# %%
import numpy as np

a = np.arange(24).reshape(2, 3, 4)
t = a.transpose(2, 0, 1)
every_other = a[:, ::2, 1::2]
flipped = a[..., ::-1]
f = np.asfortranarray(a[0])

# %%
a[0, 0, 0] = -1
a[1, 2, 3] = -2
print(t[0, 0, 0], every_other[1, 1, 1], flipped[0, 0, -1], f[0, 0])
t.strides, every_other.strides, f.flags.f_contiguous

# %%
every_other[:] = 100
a

# %%
t.flat[5] = 555
print(a.ravel()[:12], t.base is a or t.base is a.base, np.shares_memory(t, a))

# %%
grid = np.empty((2, 2), dtype=object)
cells = grid.flat
next(cells)

# %%
cells[3] = "last"
cells.index, grid[1, 1], cells.base is grid

# %%
next(cells), [each for each in cells], cells.index

# %%
people = np.array([("ann", 30, 1.5), ("bob", 25, 2.5)], dtype=[("name", "U5"), ("age", "i4"), ("h", "f8")])
ages = people["age"]
first = people[0]

# %%
ages += 1
first["h"] = 9.0
people

# %%
ages.strides, people[0], people.dtype.names, np.shares_memory(ages, people)

# %%
objects = np.array([[1, 2], {"k": "v"}, None, "text"], dtype=object)
inner = objects[0]
inner.append(3)

# %%
objects[1]["k"] = "changed"
objects, objects[0] is inner

# %%
masked = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])
masked.mean(), masked

# %%
masked[0] = np.ma.masked
masked[1] = 7.0
masked, masked.mask, masked.filled(-1)

# %%
shared = np.zeros(10)
windows = np.lib.stride_tricks.sliding_window_view(shared, 3)
broadcast = np.broadcast_to(shared[:2], (3, 2))
shared[:4] = [1, 2, 3, 4]

# %%
print(windows[:3], broadcast, windows.flags.writeable, broadcast.strides)
broadcast.flags.writeable, windows.base is not None

# %%
locked = np.arange(3)
locked.setflags(write=False)
try:
    locked[0] = 1
except ValueError as error:
    print(error)

# %%
locked.flags.writeable, locked.sum()

# %%
zero = np.array(5.0)
empty = np.empty((0, 3))
small = np.array([1, 2], dtype=">i2")
zero[()] = 6
zero, empty, small, small.dtype.byteorder

# %%
zero += 1
print(zero, small + 1, empty.shape, repr(np.float32(0.1)), np.int8(-5))

# %%
dates = np.array(["2024-02-28", "2024-03-01"], dtype="datetime64[D]")
dates += np.timedelta64(1, "D")
cplx = np.array([1 + 2j])
cplx.real[:] = 5
text = np.array(["a", "bcd"])
text[0] = "xyz too long"

# %%
dates, np.diff(dates), cplx, text, text.dtype

# %%
raw = bytearray(range(8))
over = np.frombuffer(raw, dtype=np.uint8)
over[0] = 200

# %%
raw[1] = 201
raw[:3], over[:3], over.base is not None

# %%
parts = np.split(shared, 5)
parts[0][:] = -9
shared[:3], len(parts)

# %%
grid = np.zeros((3, 3))
diagonal = np.einsum("ii->i", grid)
rows = [row for row in grid]
diagonal += 1
rows[1][0] = 5

# %%
grid, diagonal, rows[0] is rows[0], np.trace(grid)

# %%
class Tagged(np.ndarray):
    def __array_finalize__(self, source):
        self.tag = getattr(source, "tag", "none")


tagged = np.arange(3).view(Tagged)
tagged.tag = "mine"
tagged[1:].tag, type(tagged + 1).__name__

# %%
tagged[0] = 50
tagged.tag, tagged, isinstance(tagged, Tagged)

# %%
scalars = [np.float64(1.5), np.bool_(True), np.str_("s"), np.datetime64("2024-01-01"), np.complex64(1j)]
[type(s).__name__ for s in scalars], scalars

# %%
np.add(a, 1, out=a)
np.clip(a, 0, 50, out=a)
a.sort(axis=-1)
a.sum(axis=0)

# %%
first_half, second_half = shared[:5], shared[5:]
del shared
first_half[0] = 1234
windows[0, 0]

# %%
first_half.resize(3, refcheck=False) if first_half.base is None else first_half[:3]

# %%
a.nonexistent_attribute
