# Frames: in-place operations, views and copy-on-write, categories, text, dates.

# %%
import numpy as np
import pandas as pd

df = pd.DataFrame({"n": [3, 1, 2], "t": ["b", "a", None], "f": [0.5, np.nan, 2.5]})
alias = df
df

# %%
df["double"] = df["n"] * 2
df.loc[0, "n"] = 30
df.index = ["x", "y", "z"]

# %%
print(alias)
alias is df, alias.shape

# %%
df.sort_values("n", inplace=True)
df.rename(columns={"f": "float"}, inplace=True)
df.fillna({"float": 0.0}, inplace=True)
df.drop(columns="double", inplace=True)

# %%
alias

# %%
row = df.loc["x"]
column = df["n"]
part = df[df["n"] > 1]
df.loc["x", "n"] = -1

# %%
row["n"], column["x"], part.loc["x", "n"], df.loc["x", "n"]

# %%
column.iloc[0] = 999
df["n"].tolist(), column.tolist()

# %%
del df["t"]
df.insert(0, "first", range(3))
popped = df.pop("float")
alias.columns.tolist(), popped.tolist()

# %%
sales = pd.DataFrame(
    {
        "shop": pd.Categorical(["a", "b", "a", "c"], categories=["c", "b", "a"], ordered=True),
        "day": pd.to_datetime(["2024-01-01", "2024-01-01", "2024-01-02", "2024-02-29"]),
        "sold": [1, 2, 3, 4],
        "note": pd.array(["x", None, "y", "z"], dtype="string"),
        "maybe": pd.array([1, None, 3, 4], dtype="Int64"),
        "ok": [True, False, True, True],
    }
)
sales.dtypes

# %%
sales["shop"] = sales["shop"].cat.rename_categories({"a": "A"})
sales.groupby("shop", observed=False)["sold"].sum()

# %%
groups = sales.groupby(sales["day"].dt.month)["sold"]
groups.agg(["sum", "mean"])

# %%
groups.apply(lambda s: s.max() - s.min()), sales["note"].str.upper().tolist()

# %%
sales.pivot_table(index="shop", columns="ok", values="sold", aggfunc="sum", observed=True)

# %%
many = sales.set_index(["shop", "day"]).sort_index()
many.loc["A"]

# %%
many.index.names = ["SHOP", "DAY"]
many.attrs["source"] = "made here"
many.index.get_level_values(0).tolist(), dict(many.attrs)

# %%
joined = sales.merge(pd.DataFrame({"ok": [True, False], "word": ["yes", "no"]}), on="ok")
joined[["sold", "word"]].T

# %%
series = pd.Series([1, 2, 3], index=list("abc"), name="s")
other = series
series["d"] = 4
series += 1
other.to_dict(), other is series

# %%
series[series > 3] = 0
other.iloc[-1], other.cumsum().tolist()

# %%
times = pd.date_range("2024-03-30", periods=4, freq="12h", tz="Europe/Berlin")
ts = pd.Series(range(4), index=times)
ts.resample("1D").sum()

# %%
ts.index[0], ts.index.tz, pd.Timedelta("1h") + ts.index[0], pd.Period("2024Q1").end_time

# %%
frames = {"one": df, "two": sales.head(1)}
frames["one"].iloc[0, 0] = 77

# %%
df.iloc[0, 0], alias.iloc[0, 0], frames["one"] is df

# %%
objects = pd.DataFrame({"o": [[1], {"k": 2}, (3,)]})
first = objects.loc[0, "o"]
first.append("changed through the cell's list")
objects

# %%
objects.loc[0, "o"] is first, objects["o"].map(type).astype(str).tolist()

# %%
sparse = pd.Series(pd.arrays.SparseArray([0, 0, 1]))
intervals = pd.cut(pd.Series([1, 5, 9]), bins=[0, 3, 6, 10])
sparse.sparse.density, intervals

# %%
df.eval("total = first + n", inplace=True)
df.query("total > 0")

# %%
wide = pd.DataFrame(np.arange(12).reshape(3, 4), columns=list("wxyz"))
wide.values[0, 0], wide.to_numpy().sum()

# %%
wide.at[0, "w"] = 100
wide.iat[2, 3] = -5
wide = wide.astype({"x": "float32"})
wide.style.format(precision=1).to_string()

# %%
wide["missing"]
