# Generators, open files and other living things, used by several cells.

# %%
def countdown(n):
    sent = 0
    while n > 0:
        sent = (yield n) or sent
        n -= 1
    return sent


g = countdown(5)
next(g), next(g)

# %% same side
print(g.send("hello"), list(g))

# %%
squares = (x * x for x in range(6))
next(squares)

# %% same side
sum(squares), next(squares, "empty")

# %%
def lines():
    try:
        yield "a"
        yield "b"
    finally:
        print("closed")


running = lines()
next(running)

# %% same side
running.close()
next(running, None)

# %%
out = open("held.txt", "w")
out.write("first line\n")

# %% same side
out.write("second line\n")
print("third line", file=out)
out.tell()

# %% same side
out.close()
out.closed, out.name, out.mode

# %%
source = open("held.txt")
source.readline()

# %% same side
rest = source.readlines()
source.close()
rest

# %%
import csv
import io

buffer = io.StringIO("a,b\n1,2\n3,4\n")
buffer.readline()

# %%
rows = list(csv.reader(buffer))
rows, buffer.tell()

# %%
raw = io.BytesIO(b"bytes")
raw.seek(2)

# %%
raw.read(), raw.tell(), raw.getvalue()

# %%
from contextlib import contextmanager


@contextmanager
def step(name):
    print("enter", name)
    yield name.upper()
    print("leave", name)


manager = step("outer")
entered = manager.__enter__()
entered

# %% same side
manager.__exit__(None, None, None)

# %%
import itertools

chain = itertools.chain(countdown(2), countdown(3))
tee_a, tee_b = itertools.tee(iter([1, 2, 3]))
next(chain), next(tee_a)

# %% same side
list(chain), list(tee_a), list(tee_b)

# %%
import threading

lock = threading.Lock()
lock.acquire()

# %% same side
print(lock.locked())
lock.release()
lock.locked()

# %%
import sqlite3

db = sqlite3.connect(":memory:")
db.execute("create table t (n int)")
db.executemany("insert into t values (?)", [(1,), (2,), (3,)])
cursor = db.execute("select n from t order by n")
cursor.fetchone()

# %% same side
found = cursor.fetchall()
db.close()
found
