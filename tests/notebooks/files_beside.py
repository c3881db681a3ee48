# Files beside the notebook: written by one cell, read by the next.

# %%
with open("first.txt", "w") as f:
    f.write("one\n")

# %%
open("first.txt").read()

# %%
with open("first.txt", "a") as f:
    f.write("two\n")
name = "first.txt"

# %%
open(name).read().splitlines()

# %%
from pathlib import Path

folder = Path("results")
folder.mkdir(exist_ok=True)
(folder / "a.txt").write_text("in a folder")
(folder / "b.txt").write_text("beside it")

# %%
sorted(p.name for p in Path("results").iterdir()), Path("results/a.txt").read_text()

# %%
import json

with open("settings.json", "w") as f:
    json.dump({"depth": [1, 2]}, f)

# %%
with open("settings.json") as f:
    settings = json.load(f)
settings

# %%
import pandas as pd

pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_csv("table.csv", index=False)

# %%
table = pd.read_csv("table.csv")
table

# %%
import numpy as np

np.save("array.npy", np.arange(5))
np.savez("many.npz", x=np.eye(2))

# %%
np.load("array.npy").sum(), np.load("many.npz")["x"].trace()

# %%
import pickle

with open("pickled.bin", "wb") as f:
    pickle.dump({"k": (1, 2)}, f)

# %%
pickle.loads(Path("pickled.bin").read_bytes())

# %%
Path("first.txt").write_text("replaced")
Path("settings.json").rename("renamed.json")

# %% same side
Path("first.txt").read_text(), Path("settings.json").exists(), Path("renamed.json").exists()

# %%
import os

os.path.isabs(os.getcwd())

# %%
missing = open("not there.txt")

# %%
Path("with space and ünïcode.txt").write_text("odd name", encoding="utf-8")

# %%
Path("with space and ünïcode.txt").read_text(encoding="utf-8")

# %%
import sqlite3

with sqlite3.connect("data.db") as connection:
    connection.execute("create table if not exists t (n int)")
    connection.execute("insert into t values (42)")
connection.close()
del connection

# %%
connection = sqlite3.connect("data.db")
rows = connection.execute("select n from t").fetchall()
connection.close()
del connection
rows
