# Views are views of the very mapping on either side, and stay so.

# %%
import collections
import types

d = {"a": [1], "b": 2}
keys, values, items = d.keys(), d.values(), d.items()
proxy = types.MappingProxyType(d)
ordered = collections.OrderedDict(x=1)
okeys = ordered.keys()
counts = collections.Counter("aab")
chain = collections.ChainMap(d, ordered)
held = [keys, {"p": proxy}]
list(keys), list(okeys), dict(proxy)

# %%
d["c"] = 3
ordered["y"] = 2
sorted(keys), list(values), len(items), dict(proxy), list(okeys), chain["y"]

# %%
d["a"].append(2)
del d["b"]
sorted(keys), list(items), proxy["a"], keys is held[0], held[1]["p"] is proxy, list(okeys)

# %%
ordered.move_to_end("x")
chain["new"] = 1
sorted(keys), list(okeys), "new" in proxy, keys.mapping["new"], type(keys).__name__

# %%
more = d.items()
views = {"counts": counts.items(), "reversed": list(reversed(okeys))}
counts["z"] = 5
sorted(views["counts"]), views["reversed"]

# %%
d.clear()
counts.clear()
list(more), list(views["counts"]), list(proxy), list(chain.maps[0]), chain.maps[0] is d


# %%
class C:
    """A class, and a view of its own variables."""

    one = 1


own = vars(C)
own["one"]

# %%
C.two = 2
own["two"], type(own).__name__

# %%
C.three = 3
sorted(name for name in own if not name.startswith("__")), own == C.__dict__

# %%
buffer = bytearray(b"abc")
window = memoryview(buffer)
bytes(window)

# %%
window[0] = 90
buffer[1] = 91
bytes(window), window.obj is buffer
