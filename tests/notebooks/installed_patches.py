# What a notebook sets on packages that are installed: methods, accessors, options of modules, mocks.

# %%
import numpy as np
import pandas as pd
from tqdm.std import tqdm

frame = pd.DataFrame({"a": [1, 2, 3]})


def double(x):
    return 2 * x


# %%
tqdm.pandas(disable=True)

# %%
frame.a.progress_apply(double).tolist()


# %%
@pd.api.extensions.register_dataframe_accessor("mine")
class Mine:
    def __init__(self, frame):
        self._frame = frame

    def total(self):
        return int(self._frame.a.sum())


# %%
frame.mine.total()

# %%
pd.Series.shout = lambda self: f"LOUD {len(self)}"

# %%
print(frame.a.shout())
pd.Series.whisper = lambda self: "quiet"

# %%
print(frame.a.whisper(), frame.a.shout())

# %%
import textwrap

original = textwrap.shorten
textwrap.shorten = lambda text, width: f"{text[:width]}|"

# %%
print(textwrap.shorten("something long", 4))

# %%
textwrap.shorten = original
del original

# %%
print(textwrap.shorten("something long", 9))

# %%
from PIL import Image

Image.MAX_IMAGE_PIXELS = 1234

# %%
print(Image.MAX_IMAGE_PIXELS)
Image.MAX_IMAGE_PIXELS = None

# %%
print(Image.MAX_IMAGE_PIXELS)

# %%
from unittest import mock

mocked = mock.patch("textwrap.dedent", lambda text: "mocked").start()

# %%
textwrap.dedent("  text")

# %%
del pd.Series.whisper
print(hasattr(frame.a, "whisper"))

# %%
hasattr(frame.a, "whisper"), frame.a.shout(), np.sum(frame.a)
