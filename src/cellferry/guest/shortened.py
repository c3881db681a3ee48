"""An output that is too large to keep, shortened so that its reader sees what is missing. Pure."""

from __future__ import annotations

from typing import Any

KEPT_CHARACTERS = 4 << 20
"""Of a text, so much is kept from its beginning and as much from its end."""
PART_CHARACTERS = 1 << 20
"""Other parts of a display are kept whole up to this size, or not at all: half a picture is none."""
_TEXT = "text/plain"


def shortened(message: dict[str, Any]) -> dict[str, Any] | None:
    """The iopub ``message`` with its long texts cut in the middle, and a line where something is missing; None for a kind that
    has no meaning in part (a widget's state). Its buffers are left out as well."""
    content = message["content"]
    match message["msg_type"]:
        case "stream":
            return {**message, "content": {**content, "text": _cut(content["text"])}}
        case "error":
            lines = _cut("\n".join(content["traceback"])).split("\n")
            return {**message, "content": {**content, "evalue": _cut(content["evalue"]), "traceback": lines}}
        case "display_data" | "execute_result" | "update_display_data":
            return {**message, "content": {**content, "data": _parts(content["data"]), "metadata": {}}}
    return None


def _cut(text: str) -> str:
    missing = len(text) - 2 * KEPT_CHARACTERS
    if missing <= 0:
        return text
    return f"{text[:KEPT_CHARACTERS]}\n... {missing:,} characters of this output were not kept ...\n{text[-KEPT_CHARACTERS:]}"


def _parts(data: dict[str, Any]) -> dict[str, Any]:
    kept, lines = {}, []
    for kind, part in data.items():
        size = len(part) if isinstance(part, str) else len(repr(part))
        if kind == _TEXT:
            kept[kind] = _cut(part)
        elif size <= PART_CHARACTERS:
            kept[kind] = part
        else:
            lines.append(f"... {kind} of this output was too large to keep ({size:,} characters) ...")
    kept[_TEXT] = "\n".join([*([kept[_TEXT]] if _TEXT in kept else []), *lines])
    return kept
