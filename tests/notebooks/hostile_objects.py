# Objects that resist whoever looks at them, made and changed on either side.

# %%
import weakref


class Odd:
    """Compares, counts and shows itself only with an error."""

    def __init__(self, held):
        self.held = held

    def __eq__(self, other):
        raise ValueError("no comparing")

    __hash__ = None

    def __len__(self):
        raise SystemExit(3)

    __bool__ = __iter__ = __contains__ = __len__

    def __getattr__(self, name):
        raise (AttributeError if name.startswith("_") else RuntimeError)(f"no {name}")


class Reserved:
    """Nothing can be asked of it or set on it from outside."""

    def __init__(self):
        object.__setattr__(self, "count", 0)

    def __getattribute__(self, name):
        if name in ("count", "more") or name.startswith("__"):
            return object.__getattribute__(self, name)
        raise LookupError(name)

    def __setattr__(self, name, value):
        raise LookupError(name)

    def more(self):
        object.__setattr__(self, "count", self.count + 1)
        return self.count


class T:
    pass


odd, reserved, t = Odd([1]), Reserved(), T()
t.me = weakref.proxy(t)
held = [odd, {"r": reserved}]
odd.held, reserved.count

# %%
odd.held.append(2)
reserved.more(), held[0] is odd, t.me.__class__ is T

# %%
odd.held.append(3)
t.n = 5
odd.held, t.me.n, reserved.more(), held[1]["r"] is reserved

# %%
odd.held, reserved.more(), held[0] is odd

