# What a cell sets in the shell, not in a variable.

# %%
get_ipython().ast_node_interactivity = "all"

# %%
1
2

# %%
%config InteractiveShell.ast_node_interactivity = "last_expr"
3
4

# %%
5
6

# %%
%precision 3

# %%
3.14159265

# %%
%precision %r
3.14159265

# %%
2.718281828

# %%
class Amount:
    def __init__(self, value):
        self.value = value


class Money(Amount):
    pass


unit = "EUR"
get_ipython().display_formatter.formatters["text/html"].for_type(Amount, lambda amount: f"<b>{amount.value} {unit}</b>")
get_ipython().display_formatter.formatters["text/plain"].for_type(
    Amount, lambda amount, printer, cycle: printer.text(f"{amount.value} {unit}")
)
Money(1)

# %%
Money(2), {"a": [Amount(3)]}

# %%
unit = "CHF"
Amount(4)

# %%
get_ipython().display_formatter.formatters["text/plain"].for_type(int, lambda number, printer, cycle: printer.text(f"<{number}>"))
get_ipython().display_formatter.formatters["text/html"].for_type_by_name("fractions", "Fraction", lambda f: f"{f.numerator}<hr>{f.denominator}")
None

# %%
import fractions

7, fractions.Fraction(1, 3)

# %%
fractions.Fraction(1, 3)

# %%
get_ipython().display_formatter.formatters["text/plain"].pop(int)
get_ipython().display_formatter.formatters["text/html"].enabled = False
Amount(5)

# %%
8
Amount(6)

# %%
get_ipython().display_formatter.formatters["text/html"].enabled = True
get_ipython().display_formatter.formatters["text/plain"].for_type(int, None)
9

# %%
from IPython.core.magic import Magics, line_cell_magic, magics_class, register_cell_magic, register_line_magic

seen = []


@register_line_magic
def note(line):
    seen.append(line)
    return len(seen)


@register_cell_magic
def twice(line, cell):
    print(line)
    for _ in range(2):
        get_ipython().run_cell(cell)


@magics_class
class Counting(Magics):
    def __init__(self, shell):
        super().__init__(shell)
        self.count = 0

    @line_cell_magic
    def counted(self, line, cell=None):
        self.count += 1
        return self.count, line, cell


get_ipython().register_magics(Counting)
%note first

# %%
%note second
seen

# %%
%%twice a line
print("in it")

# %%
%counted one

# %%
found = %counted two
found

# %%
%alias greet echo hello %s from here

# %%
%greet you

# %%
%alias_magic clocked time

# %%
%clocked answer = 6 * 7
answer

# %%
%unalias greet
get_ipython().find_line_magic("greet")

# %%
print(get_ipython().find_line_magic("greet"))

# %%
%xmode Minimal
1 / 0

# %%
{}["missing"]

# %%
%xmode Context

# %%
def broken():
    return [][0]


broken()

# %%
import logging

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", force=True)


class NoSecrets(logging.Filter):
    dropped = 0

    def filter(self, record):
        if "secret" in record.getMessage():
            self.dropped += 1
            return False
        return True


quiet = NoSecrets()
logging.getLogger().handlers[0].addFilter(quiet)
logging.info("shown")
logging.info("a secret")

# %%
logging.warning("another secret")
logging.warning("shown as well")
quiet.dropped

# %%
quiet.dropped, logging.getLogger().handlers[0].filters == [quiet]

# %%
app = logging.getLogger("shop")
app.addFilter(lambda record: record.levelno > logging.INFO)
app.info("filtered by the logger")
app.warning("passes the logger")

# %%
app.info("filtered by the logger, too")
app.error("passes")

# %%
logging.getLogger().handlers[0].removeFilter(quiet)
app.filters.clear()
app.propagate = False
own = logging.StreamHandler()
own.setFormatter(logging.Formatter("own %(message)s"))
app.addHandler(own)
app.info("once")

# %%
app.info("once more, a secret")
logging.info("root, a secret")

# %%
def shout(lines):
    return [line.replace("whisper", "print") for line in lines]


get_ipython().input_transformers_post.append(shout)

# %%
whisper("transformed")

# %%
get_ipython().input_transformers_post.remove(shout)

# %%
"whisper" in dir()

# %%
%config InlineBackend.figure_formats = ["svg"]
%config InlineBackend.print_figure_kwargs = {"bbox_inches": None, "metadata": {"Date": None}}
try:
    %config InlineBackend.figure_formats
except ValueError:  # in each Python's own words
    print("nothing has loaded it yet")

# %%
import matplotlib
from matplotlib.figure import Figure

matplotlib.rcParams["svg.hashsalt"] = "same"
drawn = Figure(figsize=(1, 1))
print(drawn.subplots().plot([1, 2]) != [])

# %%
drawn

# %%
%config InlineBackend.figure_formats = ["png"]
%config InlineBackend.print_figure_kwargs = {"dpi": 20}
import matplotlib.pyplot as plt

drawn

# %%
drawn

# %%
plt.plot([1, 2])
plt.show()

# %%
%config InlineBackend.close_figures = False
plt.figure(figsize=(1, 1))
len(plt.get_fignums())
