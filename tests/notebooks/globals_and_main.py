# The module that a notebook is: `global`, `globals()`, `__main__`, exec, shadowed builtins.

# %%
total = 0
seen = []


def add(n):
    global total, first_use
    total += n
    first_use = "made by a function"
    seen.append(n)


add(5)

# %%
add(7)
total, first_use, seen

# %%
globals()["made"] = "by name"
globals().update(left=1, right=[2])

# %%
made, left, right

# %%
def peek(name):
    return globals().get(name, "absent")


peek("total"), peek("nothing"), peek("right") is right

# %%
import __main__

__main__.from_main = {"set": "on the module"}
__name__, __main__.total

# %%
from_main, __main__.left, __main__ is not None

# %%
import sys

sys.modules["__main__"].left += 10
left

# %%
exec("dynamic = total * 2\ndef made_by_exec():\n    return dynamic + left")
dynamic, made_by_exec()

# %%
eval("made_by_exec() + dynamic"), eval("[n for n in seen]")

# %%
space = {"x": 1}
exec("y = x + 1\nx = 10", space)
space["x"], space["y"], "y" in globals()

# %%
names = sorted(n for n in dir() if n in {"total", "seen", "add", "left"})
names, "total" in vars(), locals() is globals()

# %%
sum = lambda values: "shadowed"
sum([1, 2])

# %%
print(sum([3]), [len, max][0]([1]))

# %%
del sum
sum([1, 2])

# %%
list_ = list
list = "a name of a builtin, used for something else"

# %%
print(list, list_("ab"))
del list
list("cd")

# %%
def shadow(total):
    seen.append(total)
    total = total + 1
    return total


shadow(100), total, seen

# %%
def nested():
    total = "local"

    def inner():
        global total
        total = "from inner"
        return total

    inner()
    return total


nested(), total

# %%
class Holder:
    total = total
    both = (total, len(seen))

    def use(self):
        return total, self.total


total = "changed"
Holder().use(), Holder.both

# %%
setattr(__main__, "set_by_attr", [1])
set_by_attr.append(2)
getattr(__main__, "set_by_attr")

# %%
delattr(__main__, "set_by_attr")
"set_by_attr" in globals()

# %%
counter = 0
def bump():
    global counter
    counter += 1
    return counter


[bump() for _ in range(3)], counter

# %%
x: int = 5
y_annotated: "undefined at run time" = None
x, __annotations__["x"] if "__annotations__" in globals() else int
