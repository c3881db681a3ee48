"""What a worker shows, on its way to the notebook's frontend: as it is, or, from a worker trusted with data alone, as data.

A frontend runs what it is shown: HTML and JavaScript of a cell's outputs act there with the user's rights, a comm speaks to
whatever has registered for it, and a header says which cell an output belongs to. ``PlainOutputs`` makes every message anew of
the parts that it knows; nothing else of what was sent goes on.
"""

from __future__ import annotations

import datetime
import html
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cellferry.model import Message
from cellferry.parcels.placeholder import MIME

_MOST_CELLS = 1000
"""So many cells back, a thread that one of them has left may still show something."""
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
_CONTROLS = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x80-\x9f\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f]")
"""Whatever makes a terminal do more than write in colour, go back in its line, or delete a character."""
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_POLICY = "default-src 'unsafe-inline' 'unsafe-eval' data: blob: https:; form-action 'none'"
"""For a page of a worker: what lies in it, and what the web has, but nothing of this machine or its network."""
_ROW_PX, _ABOVE_PX, _LOWEST_PX, _HIGHEST_PX, _USUAL_PX = 26, 40, 80, 500, 320


class Outputs:
    """Everything that a worker shows or asks, as it is."""

    def __init__(self, worker: str) -> None:
        self._worker = worker

    def began(self, parent: Message) -> None:
        """A cell begins, at this request of the frontend."""

    def taken(self, message: Message, buffers: Sequence[Any]) -> Message | None:
        """The message to show; None for one that is not shown."""
        message["buffers"] = list(buffers)
        message["worker"] = self._worker
        return message

    def said(self, text: Any) -> str:
        """A line of the worker's cellferry."""
        return str(text)

    def asked(self, prompt: Any) -> str:
        """What ``input()`` asks."""
        return str(prompt)


class PlainOutputs(Outputs):
    """Text, images and LaTeX; pages in frames that can do nothing to the notebook; no comms; questions that say who asks."""

    def __init__(self, worker: str) -> None:
        super().__init__(worker)
        self._headers: dict[str, Any] = {}

    def began(self, parent: Message) -> None:
        """See ``Outputs``: outputs may belong to this cell, or to an earlier one."""
        header: Any = parent.get("header") or {}
        self._headers[str(header.get("msg_id", ""))] = header
        while len(self._headers) > _MOST_CELLS:
            del self._headers[next(iter(self._headers))]

    def taken(self, message: Message, buffers: Sequence[Any]) -> Message | None:
        """See ``Outputs``. Raises nothing, whatever the message is."""
        old: Any = message.get("parent_header") if isinstance(message, dict) else None
        number = old.get("msg_id") if isinstance(old, dict) else None
        if type(number) is not str or number not in self._headers:
            return None
        return plain_message(message, self._worker, self._headers[number])

    def said(self, text: Any) -> str:
        """See ``Outputs``."""
        return f"worker {self._worker}: {plain_text(str(text))}"

    def asked(self, prompt: Any) -> str:
        """See ``Outputs``. In one line: what stands below others could look like a question of somebody else."""
        return f"[worker {self._worker} asks] " + " ".join(plain_text(str(prompt)).splitlines())


def plain_message(message: Message, worker: str, parent_header: Any) -> Message | None:
    """A message made anew of what is known of its kind; None for one of another kind, or not as it should be. Pure but for
    the id and the time."""
    kind, content = message.get("msg_type"), message.get("content")
    make = _CONTENTS.get(kind) if type(kind) is str else None
    if make is None or not isinstance(content, dict):
        return None
    try:
        made = make(content, worker)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    header = {
        "msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": "", "version": "5.4",
        "date": datetime.datetime.now(datetime.UTC).isoformat(),
    }  # fmt: skip
    return {
        "header": header, "parent_header": parent_header, "msg_type": kind, "metadata": {}, "content": made, "buffers": [],
        "worker": worker,
    }  # fmt: skip


def plain_text(text: Any) -> str:
    """A text without what makes a terminal do anything but write. Raises TypeError for no text."""
    if type(text) is not str:
        raise TypeError("no text")
    return _CONTROLS.sub("", text)


def framed(page: str) -> str:
    """HTML that shows a page in a frame without the notebook's origin: its scripts run, and reach nothing but themselves."""
    rows = page.count("<tr")
    height = min(max(_ABOVE_PX + _ROW_PX * rows, _LOWEST_PX), _HIGHEST_PX) if rows else _USUAL_PX
    inside = (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<body style="margin: 0; font-family: sans-serif; font-size: 13px; background: white">{page}'
    )
    return (
        f'<iframe sandbox="allow-scripts" referrerpolicy="no-referrer" srcdoc="{html.escape(inside)}" '
        f'style="width: 100%; height: {height}px; border: 0; resize: vertical; overflow: auto"></iframe>'
    )


def plain_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """What may be shown of a display, by MIME type."""
    found: dict[str, Any] = {}
    for mime in _IMAGES:
        image = data.get(mime)
        if type(image) is str and _BASE64.fullmatch(image):
            found[mime] = image
    if type(latex := data.get("text/latex")) is str:
        found["text/latex"] = _TAG.sub(
            "< ", plain_text(latex)
        )  # the same formula, and no tag where it is put into a page
    if type(told := data.get(MIME)) is dict:
        found[MIME] = told
    page = _page(data)
    if page and not found:
        found["text/html"] = framed(page)
    text = data.get("text/plain", data.get("text/markdown"))
    if type(text) is str:
        found["text/plain"] = plain_text(text)
    elif data and "text/plain" not in found:
        found["text/plain"] = f"[{', '.join(sorted(map(str, data)))[:200]}: not shown, trust is set to data]"
    return found


def _page(data: Mapping[str, Any]) -> str:
    """What of a display goes into a frame: HTML, else a drawing, else a script."""
    page, drawing, script = data.get("text/html"), data.get("image/svg+xml"), data.get("application/javascript")
    if type(page) is str:
        return page
    if type(drawing) is str:
        return drawing
    return f"<script>{script}</script>" if type(script) is str else ""


def _display(content: dict[str, Any], worker: str) -> dict[str, Any]:
    data = content["data"]
    sizes = content.get("metadata")
    metadata = {
        mime: {side: size for side in ("width", "height") if type(size := sizes[mime].get(side)) is int}
        for mime in _IMAGES if isinstance(sizes, dict) and isinstance(sizes.get(mime), dict)
    }  # fmt: skip
    transient = content.get("transient")
    known = transient.get("display_id") if isinstance(transient, dict) else None
    own = {"display_id": f"{worker}: {known}"} if type(known) is str else {}  # never one of the notebook's own displays
    return {"data": plain_data(data), "metadata": metadata, "transient": own}


def _result(content: dict[str, Any], worker: str) -> dict[str, Any]:
    number = content.get("execution_count")
    return {**_display(content, worker), "execution_count": number if type(number) is int else None}


def _stream(content: dict[str, Any], _worker: str) -> dict[str, Any]:
    if content["name"] not in ("stdout", "stderr"):
        raise ValueError("no stream")
    return {"name": content["name"], "text": plain_text(content["text"])}


def _error(content: dict[str, Any], _worker: str) -> dict[str, Any]:
    lines = [plain_text(line) for line in content["traceback"]]
    return {"ename": plain_text(content["ename"]), "evalue": plain_text(content["evalue"]), "traceback": lines}


_CONTENTS: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "stream": _stream,
    "display_data": _display,
    "update_display_data": _display,
    "execute_result": _result,
    "error": _error,
    "clear_output": lambda content, _worker: {"wait": content.get("wait") is True},
}
