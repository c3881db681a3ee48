# Much to show: many lines, one long line, progress bars, displays by the hundred.

# %%
for i in range(20_000):
    print("line", i)
lines = i

# %%
import sys

for i in range(200):
    sys.stdout.write(f"\rprogress {i}/200")
    sys.stdout.flush()
print()

# %%
print("x" * 500_000)

# %%
import pandas as pd

frame = pd.DataFrame({f"c{j}": range(j, j + 300) for j in range(30)})
frame

# %%
frame.describe()

# %%
from IPython.display import HTML, Markdown, clear_output, display

for i in range(300):
    display({"n": i})

# %%
for i in range(50):
    print("before", i)
    display(HTML(f"<i>{i}</i>"))
    print("after", i)

# %%
for i in range(5):
    clear_output(wait=True)
    print("only the last stays", i)

# %%
print("wiped")
clear_output()
print("kept")

# %%
handle = display(Markdown("*first*"), display_id="changing")

# %%
handle.update(Markdown("*second*"))
handle.display(Markdown("*third*"))

# %%
for i in range(2_000):
    print("err", i, file=sys.stderr)

# %%
list(range(3_000))

# %%
{str(i): list(range(i % 7)) for i in range(800)}

# %%
"long " * 10_000

# %%
for i in range(3000):
    print(i, end=" " if i % 20 else "\n")

# %%
from tqdm import tqdm

total = sum(tqdm(range(1000), bar_format="{n_fmt}/{total_fmt}", mininterval=1e9, leave=False))
total

# %%
print("\x1b[31mred\x1b[0m", "tab\there", "nul\\0", "häßlich", "漢字", "🙂", "e\u0301")
print(end="no newline")
