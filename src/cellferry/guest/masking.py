"""Secrets of the running cell: in ``os.environ`` while it runs, and masked in whatever it shows."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

_SHORTEST = 4
"""A shorter text cannot be masked: it is in too many others."""

_SHORTEST_CODED = 6
_ESCAPED = re.compile(r"%[0-9A-F]{2}")
_URL_SAFE = str.maketrans("+/", "-_")


class Masking:
    """One for each kernel. While it knows no secret it costs one look at an empty dict for each message.

    What was sent by the last character of a secret is held back until it is known what follows: a secret that is printed
    in pieces is masked as well.
    """

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._before: dict[str, str | None] = {}
        self._held: dict[str, str] = {}
        self._longest = 0

    @property
    def active(self) -> bool:
        """Whether there is anything to mask."""
        return self._pattern is not None

    def begin(self, secrets: Mapping[str, str], more: Mapping[str, str]) -> None:
        """A cell begins that may read ``secrets`` (environment variables); ``more``: values to be masked alone."""
        for name, text in secrets.items():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = text
        fresh = {text: f"[{name}]" for name, text in {**more, **secrets}.items() if len(text) >= _SHORTEST}
        if fresh.items() <= self._labels.items():
            return
        self._labels.update(fresh)
        forms = {form: label for text, label in self._labels.items() for form in _forms(text)}
        ordered = sorted(forms, key=len, reverse=True)
        self._labels.update(forms)
        self._longest = max(map(len, ordered))
        self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def end(self) -> None:
        """The cell has ended: its secrets leave the environment. Their values go on being masked while this kernel lives:
        a thread of the cell, or a later one that kept a copy, may still show them."""
        for name, text in self._before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text
        self._before.clear()

    def text(self, text: str) -> str:
        """``text`` without secrets."""
        return text if self._pattern is None else self._pattern.sub(lambda found: self._labels[found[0]], text)

    def whole(self, value: Any, *, media: bool = False) -> Any:
        """A JSON-like value without secrets; ``media``: it is a bundle by MIME type, whose images are left as they are."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(str(k)): v
                if media and str(k).startswith("image/") and "svg" not in str(k)
                else self.whole(v, media=k == "data")
                for k, v in value.items()
            }
        return [self.whole(item) for item in value] if isinstance(value, (list, tuple)) else value

    def content(self, kind: str, content: dict[str, Any]) -> dict[str, Any] | None:
        """The content of a message without secrets; None while all of a stream's text is held back."""
        if kind != "stream":
            return dict(self.whole(content))
        name = str(content.get("name"))
        text = self.text(self._held.pop(name, "") + str(content.get("text", "")))
        keep = self._tail(text)
        if keep:
            self._held[name] = text[len(text) - keep :]
            text = text[: len(text) - keep]
        return {**content, "text": text} if text else None

    def rest(self) -> list[dict[str, Any]]:
        """What is held back, as contents of stream messages: nothing more will follow it."""
        held, self._held = self._held, {}
        return [{"name": name, "text": self.text(text)} for name, text in held.items()]

    def _tail(self, text: str) -> int:
        """How many characters at the end of ``text`` might be the beginning of a secret."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[-size:]
            if any(form.startswith(tail) for form in self._labels):
                return size
        return 0


def _forms(text: str) -> set[str]:
    """A secret as it is, and as JSON, ``repr``, URLs and base64 write it."""
    forms = {text, json.dumps(text)[1:-1], repr(text)[1:-1], *_url_forms(text), *_base64_forms(text)}
    return forms | {quote(form, safe="") for form in _base64_forms(text)}


def _url_forms(text: str) -> set[str]:
    forms = {quote(text, safe=""), quote(text), quote_plus(text)}
    small = {_ESCAPED.sub(lambda found: found[0].lower(), form) for form in forms}
    return forms | small | {quote(form, safe="") for form in forms}


def _base64_forms(text: str) -> set[str]:
    """By itself, and inside of a longer text, where it begins with any of three characters of the code: without the ends, which
    depend on what stands beside it (``Authorization: Basic`` has the user before the password)."""
    raw = text.encode("utf-8", "surrogatepass")
    found = {base64.b64encode(raw).decode(), base64.b64encode(raw).decode().rstrip("=")}
    for before in range(3):
        coded = base64.b64encode(bytes(before) + raw).decode()
        found.add(coded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6])
    found = {form for form in found if len(form) >= _SHORTEST_CODED}
    return found | {form.translate(_URL_SAFE) for form in found}
