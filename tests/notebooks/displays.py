# What a cell shows: results, rich objects, and displays changed later.

# %%
from IPython.display import HTML, JSON, Code, Image, Latex, Markdown, Pretty, clear_output, display

1 + 1

# %%
"text with 'quotes'\nand a line"

# %%
None

# %%
_, Out[3] if 3 in Out else None

# %%
display("one", 2, [3])
HTML("<b>last</b>")

# %%
class Rich:
    def __init__(self, n):
        self.n = n

    def _repr_html_(self):
        return f"<i>{self.n}</i>"

    def __repr__(self):
        return f"Rich({self.n})"


Rich(1)

# %%
class Many:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": "plain many", "text/html": "<p>many</p>", "application/vnd.own+json": {"a": [1]}}


class Own:
    def _ipython_display_(self):
        print("shows itself")
        display(Rich(2))


display(Many())
Own()

# %%
rich = Rich(3)
rich.n += 1
rich

# %%
class Broken:
    def __repr__(self):
        raise ValueError("cannot be shown")


Broken()

# %%
class HalfBroken:
    def _repr_html_(self):
        raise ValueError("html fails")

    def __repr__(self):
        return "still shown"


HalfBroken()

# %%
first = display(Markdown("**a**"), display_id="shown-first")
print("between")
first.update(Markdown("**b**"))

# %%
first.update(Markdown("**c**"))
type(first).__name__, first.display_id

# %%
display(Latex("$x^2$"), JSON({"k": [1, {"n": None}]}), Pretty("pretty"))
Code("x = 1", language="python")

# %%
png = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)
Image(data=png)

# %%
print("one")
display(1)
print("two")
display(2)
print("three")
3

# %%
print("a"); display("b"); clear_output(); print("c")

# %%
x = 5; x

# %%
x;

# %%
if x:
    x
    "not shown either"

# %%
[1, 2, 3]
(4, 5)

# %%
display({"text/plain": "raw bundle", "text/html": "<u>raw</u>"}, raw=True)
display(HTML("<hr>"), metadata={"isolated": True})

# %%
get_ipython().display_formatter.format({"a": 1})[0]

# %%
len(Out) > 0, len(In) > 10, sorted(Out)[-1]

# %%
5 * 5

# %%
_ + 1, __

# %%
float("nan"), -0.0, 1e300 * 10, 10**30, True, ..., 3 + 4j, b"\x00\xff", {1: {2: {3: {}}}}

# %%
type(x), int, print, len, lambda: 1, x.__class__.__mro__

# %%
{"nested": [{"a": (1, [2, {"b": None}])}] * 3, "long": ["word " * 5] * 10}

# %%
from tqdm import trange

for i in trange(3, bar_format="{n}/{total}", mininterval=1e9, leave=False):
    pass
"done"
