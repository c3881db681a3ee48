"""Every type of message of a remote cell is what a kernel beside the notebook sends for the same source: all of its content,
metadata and buffers, ids aside."""

from __future__ import annotations

import json
import re

import pytest

_ID = re.compile(r"\b[0-9a-f]{32}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_PLACE = re.compile(r"\x1b\[[0-9;]*m|0x[0-9a-f]{6,}|ipykernel_\d+|(?<=In)\[\d+\]")
_FRAME = re.compile(r"line \d+|^-*>? *\d+ ", re.MULTILINE)

SET_UP = """
import datetime, io, json
from IPython.display import HTML, JSON, SVG, Audio, Image as Shown, Latex, Markdown
from IPython.display import clear_output, display, publish_display_data, update_display
from PIL import Image
import comm, numpy as np

class Bytes:
    def __init__(self, which, value, metadata=None):
        setattr(self, f"_repr_{which}_", lambda: value if metadata is None else (value, metadata))
    def __repr__(self):
        return "Bytes()"

def encoded(form):
    out = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(out, form)
    return out.getvalue()

png, jpeg = encoded("PNG"), encoded("JPEG")
"""

SOURCES = {
    "stream": "import sys\nprint('one'); print('zwei ü 🙂 \\x1b[1m \\x00 \\udcff'); print('err', file=sys.stderr)",
    "result of bytes": "Image.new('RGB', (2, 2), 'red')",
    "png": "Bytes('png', png)",
    "png with metadata": "Bytes('png', png, {'width': 3, 'height': np.int64(4)})",
    "jpeg": "Bytes('jpeg', jpeg)",
    "pdf": "Bytes('pdf', b'%PDF-1.4 no more')",
    "png of text": "Bytes('png', 'iVBORw0KGgo=')",
    "svg, html, markdown, latex": "display(Bytes('svg', '<svg/>'), Bytes('html', '<b>'), Bytes('markdown', '*a*'), Bytes('latex', '$x$'))",
    "bundle": "class Bundle:\n    def _repr_mimebundle_(self, **_):\n        return {'image/png': png, 'text/plain': 'b'}, {'image/png': {'width': 1}}\nBundle()",  # noqa: E501
    "display": "display(Image.new('L', (1, 1)), Bytes('jpeg', jpeg), 'text', metadata={'image/png': {'width': 1}})",
    "displays of its own": "display(Markdown('*m*'), JSON({'a': [1, None, {'b': 1.5}]}), HTML('<i>'), SVG('<svg></svg>'), Latex('$y$'), Shown(png), "  # noqa: E501
    "Shown(jpeg, width=3), Audio(data=b'RIFF0000WAVE', embed=True))",
    "raw": "display({'image/png': png, 'application/pdf': b'%PDF', 'text/plain': 'raw'}, raw=True)",
    "raw, of odd values": "display({'application/x.own+json': {'when': datetime.datetime(2020, 1, 2, 3, 4, 5, 678, datetime.timezone.utc), "
    "'day': datetime.date(2020, 1, 2), 'set': {1}, 'tuple': (1, (2,)), 'np': [np.int64(1), np.float64(2.5)], 'bytes': b'x', 3: 'key'}, "
    "'text/plain': 'odd'}, raw=True)",
    "raw, not a number": "import warnings\nwarnings.simplefilter('ignore')\ndisplay({'application/json': [float('nan'), float('inf')]}, raw=True)",  # noqa: E501
    "raw, not to be written": "display({'application/json': object()}, raw=True)",
    "published": "publish_display_data({'image/png': png, 'text/plain': 'p'}, metadata={'image/png': {'deep': [{'b': png, 'n': (1, 2)}]}}, "
    "transient={'display_id': 'published', 'b': b'x'})",
    "updated": "display(Bytes('png', png), display_id='same')\nupdate_display(Bytes('png', png + b'2'), display_id='same')",
    "handle": "h = display('a', display_id='handle')\nh.update(Image.new('RGB', (1, 1)))",
    "changed after it was shown": "d = {'a': 1}\ndisplay({'application/json': d}, raw=True)\nd['a'] = 2\ndisplay({'application/json': d}, raw=True)",  # noqa: E501
    "clear_output": "print(1)\nclear_output()\nprint(2)\nclear_output(wait=True)\nprint(3)",
    "error": "def f(x):\n    return 1 / x\n\nf(0)",
    "error shown by the cell": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    get_ipython().showtraceback()",
    "comm": "c = comm.create_comm(target_name='there.is.none', data={'when': datetime.date(2020, 1, 1), 'b': b'x'}, metadata={'m': (1, b'y')}, "  # noqa: E501
    "buffers=[b'abc', memoryview(np.arange(3))])\nc.send({'v': np.int64(1)}, metadata={'n': {2}}, buffers=[bytearray(b'z'), np.arange(2)])\nc.close({'end': True})",  # noqa: E501
    "comm with a buffer in pieces": "c = comm.create_comm(target_name='there.is.none', buffers=[memoryview(np.arange(6).reshape(2, 3).T)])",
    "input_request": "import getpass\ninput('name: '), getpass.getpass('secret: ')",
    "threads": "import threading\nt = threading.Thread(target=lambda: display(Bytes('png', png)))\nt.start(); t.join()",
    "forked": "import os\npid = os.fork()\nif not pid:\n    print('child', flush=True)\n    os._exit(0)\nos.waitpid(pid, 0)\nNone",
}


@pytest.fixture(scope="module")
def far(plain_notebook):
    """A plain ipykernel with the extension and a real local worker, both set up alike."""
    made = plain_notebook()
    made.run("%load_ext cellferry")
    made.run(SET_UP)
    made.run("%%remote\nget_ipython().run_line_magic('matplotlib', 'inline')" + SET_UP)
    return made


def test_each_source_sends_what_it_sends_here(far):
    different = []
    for name, source in SOURCES.items():
        answers = ["me", "word"] if name == "input_request" else []
        here = far.run(source, answers=list(answers), check=False)
        there = far.run(f"%%remote\n{source}", answers=list(answers), check=False)
        expected, got = _seen(here), _seen(there)
        if expected != got:
            different.append(f"{name}:\n  here  {expected}\n  there {got}")
        assert expected, name
    assert not different, "\n".join(different)


def test_pdb_opens_where_the_cell_failed_and_once(far):
    far.run("%pdb on")
    outcome = far.run("%%remote\nword = 6\n1 / 0", answers=["p word * 7", "q"], check=False)
    far.run("%pdb off")
    assert "42" in outcome.text() and outcome.reply["ename"] == "ZeroDivisionError" and len(outcome.of("error")) == 1


def _seen(outcome):
    """Each message without what differs between two runs of one cell beside the notebook; neighbouring texts as one."""
    seen, ids = [], {}
    for message in outcome.messages:
        content, kind = message["content"], message["msg_type"]
        if _is_note(content):
            continue
        if kind == "error":
            content = {**content, "traceback": _of_the_notebook(content["traceback"])}
        if kind == "stream" and seen and seen[-1][0] == "stream" and seen[-1][1]["name"] == content["name"]:
            seen[-1][1]["text"] += content["text"]
            continue
        content.pop("execution_count", None)
        text = _ID.sub(lambda found: ids.setdefault(found[0], f"id{len(ids)}"), json.dumps(content))
        text = _PLACE.sub("", text)
        header = {key: type(value).__name__ for key, value in message["header"].items()}
        parent = {key: type(value).__name__ for key, value in message["parent_header"].items()}
        buffers = [bytes(buffer) for buffer in message.get("buffers", [])]
        seen.append([kind, json.loads(text), message["metadata"], buffers, header, parent])
    return seen


def _of_the_notebook(traceback):
    """The frames of cells, without their numbers and the line that stands above a remote one; libraries' frames left out."""
    parts = "\n".join(_PLACE.sub("", part) for part in traceback).split("\n\n")
    return [_FRAME.sub("", part).replace("#%%remote\n", "") for part in parts if not part.startswith("File ")]


def _is_note(content):
    return "opacity: 0.7" in content.get("data", {}).get("text/html", "")
