# Figures drawn by several cells.

# %%
%matplotlib inline
import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 6, 50)
plt.plot(x, np.sin(x))
plt.title("drawn and shown by one cell");

# %%
fig, ax = plt.subplots(figsize=(3, 2))
ax.plot(x, np.cos(x), label="cos")
ax.set_title("kept")
plt.close(fig)

# %%
ax.plot(x, np.sin(2 * x), "r--", label="sin")
ax.legend()
len(ax.lines)

# %%
fig

# %%
line = ax.lines[0]
line.set_color("green")
ax.set_xlim(0, 3)
fig

# %%
fig.axes[0] is ax, ax.figure is fig, line in ax.get_lines(), ax.get_title()

# %%
def draw(values, **style):
    figure, axes = plt.subplots(1, 2, figsize=(4, 2))
    axes[0].bar(range(len(values)), values, **style)
    axes[1].imshow(np.outer(values, values))
    return figure


draw([1, 3, 2], color="orange")
None

# %%
with plt.style.context("ggplot"):
    plt.figure(figsize=(2, 2))
    plt.scatter([1, 2], [3, 4])
    plt.show()
print("after show")

# %%
for n in range(2):
    plt.figure(figsize=(2, 1))
    plt.plot([n, n + 1])
    plt.show()
    print("figure", n)

# %%
from IPython.display import display

display(fig)
plt.get_fignums()

# %%
import pandas as pd

frame = pd.DataFrame({"a": [1, 2, 3], "b": [3, 2, 1]})
axes = frame.plot(figsize=(3, 2))
type(axes).__name__

# %%
fig.savefig("kept.png", dpi=50)
import os

os.path.getsize("kept.png") > 1000

# %%
image = plt.imread("kept.png")
image.shape, image.dtype
