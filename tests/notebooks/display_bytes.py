# Pictures and documents whose representation is bytes, shown in every way there is.

# %%
import datetime
import io

from IPython.display import Audio, Image as Shown, display, publish_display_data, update_display
from PIL import Image

display(Image.new("RGB", (2, 2), "red"))  # not as the result: an image that was shown keeps notes about that, which never travel

# %%
def encoded(form, colour="red"):
    out = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(out, form)
    return out.getvalue()


class Drawn:
    def __init__(self, colour):
        self.colour = colour

    def __repr__(self):
        return f"Drawn({self.colour!r})"

    def _repr_png_(self):
        return encoded("PNG", self.colour), {"width": 20}

    def _repr_jpeg_(self):
        return encoded("JPEG", self.colour)

    def _repr_pdf_(self):
        return b"%PDF-1.4 " + self.colour.encode()


drawn = Drawn("blue")
drawn

# %%
drawn.colour = "green"
display(drawn, Drawn("red"), metadata={"image/png": {"height": 5}})

# %%
class Bundle:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/png": encoded("PNG"), "image/gif": encoded("GIF"), "text/plain": "a bundle"}


Bundle()

# %%
display({"image/png": encoded("PNG"), "text/plain": "raw"}, raw=True)
publish_display_data({"application/pdf": b"%PDF", "text/plain": "published"}, metadata={"deep": [{"bytes": b"x"}]})

# %%
handle = display(Drawn("red"), display_id="drawn")

# %%
handle.update(Drawn("black"))
update_display(Image.new("L", (1, 1)), display_id="drawn")

# %%
Shown(encoded("JPEG"), width=3), Shown(encoded("PNG"))

# %%
display(Shown(encoded("JPEG"), width=3), Audio(data=b"RIFF0000WAVE", embed=True))

# %%
parts = {"application/x.own+json": {"day": datetime.date(2020, 1, 2), "set": {1}, "bytes": b"\x00", "tuple": (1, (2,))}}
display(parts, raw=True)

# %%
display({"application/json": object()}, raw=True)

# %%
get_ipython().display_formatter.format(drawn)[0]["image/jpeg"][:2]
