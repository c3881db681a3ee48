"""An output as a frontend of this kernel would read it: written by the kernel's own session, with whatever that makes of bytes,
dates, sets and ``nan``.

A message goes over the link as JSON with its outputs already in that form, so that a picture is the same text whether its cell
ran here or beside the notebook. What the session refuses to write is refused here too, inside the call that showed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def as_sent(session: Any, message: dict[str, Any], buffers: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
    """``message`` with its parts as ``session`` writes them, and its buffers.

    A copy: what the cell changes afterwards is not shown. Raises TypeError or ValueError for what no frontend could be sent,
    as the session's own ``send`` does.
    """
    for at, buffer in enumerate(buffers):
        if not memoryview(buffer).contiguous:
            raise ValueError(f"Buffer {at} ({buffer!r}) is not contiguous")
    content = message["content"]
    if not _is_plain_text(content):
        content = session.unpack(session.pack(content))
    written = {part: _stamped(session, message[part]) for part in ("header", "parent_header")}
    metadata = session.unpack(session.pack(message["metadata"])) if message["metadata"] else {}
    return {**message, **written, "metadata": metadata, "content": content}, list(buffers)


def _is_plain_text(content: dict[str, Any]) -> bool:
    """Whether it is what a stream message holds, in which the session changes nothing: the many, which should cost little."""
    text = content.get("text")
    if len(content) != 2 or type(text) is not str or type(content.get("name")) is not str:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stamped(session: Any, header: dict[str, Any]) -> dict[str, Any]:
    """A header, whose only value that is no JSON is its date."""
    date = header.get("date")
    return header if date is None or type(date) is str else {**header, "date": session.unpack(session.pack(date))}
