# Settings that live in modules and in the process: options of libraries and filters of warnings go along. Others stay
# where they were made, so their cells stay together.

# %%
import numpy as np
import pandas as pd

np.set_printoptions(precision=2, suppress=True)
pd.set_option("display.max_rows", 6)

# %%
print(np.array([1 / 3, 1e-9]))
pd.DataFrame({"n": range(20)})

# %%
import warnings

warnings.filterwarnings("ignore", message="noise")
warnings.warn("noise")
warnings.warn("signal")

# %%
warnings.warn("noise")
warnings.warn("another signal")

# %%
pd.options.display.float_format = lambda number: f"{number:.1f} units"
np.seterr(divide="ignore")

# %%
print(pd.Series([1 / 3]))
np.arange(2) / 0

# %%
import logging

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", force=True)
log = logging.getLogger("mine")
log.setLevel(logging.DEBUG)

# %%
log.debug("heard")
logging.debug("not heard")
logging.info("heard too")

# %%
own = logging.getLogger("own")
own.propagate = False
own.addHandler(logging.StreamHandler())
own.handlers[0].setFormatter(logging.Formatter("own: %(message)s"))

# %%
own.warning("in its own way")

# %%
log.setLevel(logging.WARNING)
log.info("not any more")

# %%
log.info("still not")
log.warning("but this")

# %%
import sklearn
from sklearn.preprocessing import StandardScaler

sklearn.set_config(transform_output="pandas")

# %%
StandardScaler().fit_transform(pd.DataFrame({"n": [1.0, 2.0]}))

# %% same side
import os

os.environ["NASTY"] = "set"
os.makedirs("below", exist_ok=True)
os.chdir("below")

# %% same side
os.environ["NASTY"], os.path.basename(os.getcwd())

# %% same side
os.chdir("..")
import sys

sys.path.insert(0, "nearby_folder")
import lonely

lonely.WORD

# %% same side
import decimal
import locale

decimal.getcontext().prec = 6
decimal.Decimal(1) / 7

# %% same side
decimal.Decimal(1) / 3

# %%
import matplotlib

matplotlib.rcParams["lines.linewidth"] = 7

# %%
matplotlib.rcParams["lines.linewidth"]

# %%
old_limit = sys.getrecursionlimit()
sys.setrecursionlimit(5000)

# %% same side
sys.getrecursionlimit(), old_limit < 5000

# %% same side
import contextvars

var = contextvars.ContextVar("var", default=0)
var.set(5)
None

# %% same side
import builtins

builtins.everywhere = "in builtins"
everywhere

# %% same side
builtins.everywhere.upper()

# %% same side
import atexit
import signal
import time

previous = signal.getsignal(signal.SIGUSR1)
signal.signal(signal.SIGUSR1, lambda number, frame: print("signal", number == signal.SIGUSR1))
os.kill(os.getpid(), signal.SIGUSR1)

# %% same side
get_ipython().display_formatter.formatters["text/plain"].for_type(complex, lambda v, p, c: p.text("complex!"))
1j
