# Text that comes by other roads than print.

# %%
import sys

sys.stdout.write("no newline")
sys.stdout.write(", then one\n")
sys.stderr.write("to standard error\n")

# %%
print("a", "b", sep="|", end="<end>\n")
print("flushed", flush=True)
print(1, 2.5, None, [3], file=sys.stdout)

# %%
import subprocess

done = subprocess.run(["echo", "from a child"], capture_output=True, text=True)
done.stdout, done.returncode

# %%
import os

status = os.system("echo through the system > by_system.txt")
status, open("by_system.txt").read()

# %%
import logging

logger = logging.getLogger("nasty")
logger.propagate = False
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
logger.handlers = [handler]
logger.setLevel("INFO")
logger.info("to the cell")

# %% same side
logger.warning("again %s", [1])
logger.debug("not shown")

# %%
import threading


def talk(n):
    print("thread", n)


for n in range(3):
    thread = threading.Thread(target=talk, args=(n,))
    thread.start()
    thread.join()

# %%
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(2) as pool:
    doubled = list(pool.map(lambda v: v * 2, range(5)))
doubled

# %%
import io

saved, sys.stdout = sys.stdout, io.StringIO()
print("into the buffer")
taken, sys.stdout = sys.stdout.getvalue(), saved
taken

# %%
import pprint

pprint.pprint({"key": list(range(30)), "other": {"deep": "x" * 60}}, width=60)

# %%
print("bell-free \b back\rreturn", "\ttab", "\N{SNOWMAN}", "line\u2028sep")

# %%
sys.stdout.isatty(), sys.stdout.encoding.lower(), hasattr(sys.stdout, "fileno")

# %%
help(len)

# %%
print(*range(100), sep="\n")

# %%
import textwrap

print(textwrap.dedent("""
    indented
      more
"""))

# %%
sys.displayhook is not None, sys.stdin is not None

# %%
for name in ("out", "err"):
    print(name, file=getattr(sys, "std" + name))
