# Names that go away, come back and go away again.

# %%
a, b, c, d = 1, [2], {"three": 3}, "four"
alias = b

# %%
del a
del c["three"], d

# %%
print("a" in globals(), "d" in globals(), b, c)

# %%
try:
    a
except NameError as error:
    print(error)

# %%
a = "back"
del b
alias.append("still here")

# %%
a, alias

# %%
b = alias
del alias
b

# %%
for i in range(3):
    last = i
del i
last

# %%
def tidy():
    global last
    del last


tidy()
"last" in globals(), "i" in globals()

# %%
try:
    raise ValueError("gone after the block")
except ValueError as problem:
    kept = problem
"problem" in globals(), kept

# %%
temporary = [x for x in range(5)]
total = sum(temporary)
del temporary, kept
total

# %%
import math as m

area = m.pi
del m
"m" in globals(), round(area, 3)

# %%
del area; area = "within one cell"; del area
"area" in globals()

# %%
globals().pop("total")
"total" in globals()

# %%
def late():
    return made_later


made_later = "yes"
late()

# %%
del made_later
try:
    late()
except NameError as error:
    print(error)
