# The working folder: listed, looked at and read by names that no text shows, by Python and by programs.

# %%
import glob
import os
from pathlib import Path

STAR = chr(42)
os.makedirs("set", exist_ok=True)
for n in range(3):
    Path("set", f"part{n}.csv").write_text(f"a,b\n{n},{n * n}\n")
Path("notes.txt").write_text("one\ntwo\n");

# %%
sorted(name for name in os.listdir(".") if not name.startswith(("nearby", "__"))) == sorted(
    path.name for path in Path().iterdir() if not path.name.startswith(("nearby", "__"))
), [name for name in sorted(os.listdir()) if name in ("set", "notes.txt", "table.csv")]

# %%
files = sorted(glob.glob(os.path.join("se" + "t", STAR + ".csv")))
files, [os.path.getsize(file) for file in files]

# %%
import pandas as pd

table = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
table

# %%
for folder, _folders, names in os.walk("se" + "t"):
    print(folder, sorted(names))
[(e.name, e.is_file(), e.stat().st_size) for e in sorted(os.scandir("se" + "t"), key=lambda e: e.name)]

# %%
kind = "notes"
os.path.exists(f"{kind}.txt"), Path(f"{kind}.txt").is_file(), os.path.exists(f"{kind}.md"), os.access(f"{kind}.txt", os.R_OK)

# %%
!wc -l {kind}.txt
!ls se?

# %%
with open(f"{kind}.txt", "a") as file:
    file.write("three\n")

# %%
Path(f"{kind}.txt").read_text().split()

# %%
import subprocess

subprocess.run(["cat", f"{kind}.txt"], capture_output=True, text=True).stdout

# %%
try:
    open(f"{kind}.none")
except FileNotFoundError as error:
    print(error)

# %%
from IPython.display import FileLinks

print(FileLinks("se" + "t", url_prefix="").__repr__().split())

# %%
import shutil

shutil.copytree("se" + "t", "copied")
sorted(os.listdir("copied"))

# %%
sorted(os.listdir("copied")), Path("copied", f"part{1}.csv").read_text()

# %% same side
os.chdir("copied")

# %% same side
sorted(os.listdir()), os.path.basename(os.getcwd())

# %% same side
os.chdir("..")

# %%
import sqlite3

with sqlite3.connect(f"{kind}.db") as base:
    base.execute("create table t (x)")
    base.execute("insert into t values (7)")
base.close()
del base

# %%
with sqlite3.connect(f"{kind}.db") as base:
    rows = base.execute("select x from t").fetchall()
base.close()
del base
rows
