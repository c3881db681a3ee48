"""The way of an output: without the secrets of its cell, into the journal of its run, to the client that asked for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from cellferry.guest.masking import Masking
from cellferry.guest.queue import Queue
from cellferry.guest.set_up import SharedShell

if TYPE_CHECKING:
    from cellferry.guest.door import Link
    from cellferry.guest.journal import Journal

_MESSAGE = ("header", "parent_header", "metadata", "content", "msg_type")


class Showing(SharedShell):
    """What a ``Door`` does with outputs. Called from every thread."""

    masking: Masking
    queue: Queue
    _last_stream: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed

    def emit(self, message: dict[str, Any], buffers: list[Any]) -> None:
        """One iopub message, to the client whose request is its parent; without the secrets of the cell."""
        if self.masking.active:
            kind = str(message["header"]["msg_type"])
            if kind == "stream":
                self._last_stream = message
            else:
                self.show_rest()
            content = self.masking.content(kind, message["content"])
            if content is None:
                return
            message = {**message, "content": content}
        self._publish(message, buffers)

    def show_rest(self) -> None:
        """Show what was held back because it might have been the beginning of a secret; called when nothing follows."""
        for content in self.masking.rest():
            last = self._last_stream
            self._publish({**last, "content": content, "header": {**last["header"], "msg_id": uuid.uuid4().hex}}, [])

    def _publish(self, message: dict[str, Any], buffers: list[Any]) -> None:
        parent = message["parent_header"]
        event = {key: message[key] for key in _MESSAGE if key in message}
        # it may be sent later, and the cell goes on: what it shows must be as it is now, in the order in which it lies in memory
        buffers = [memoryview(each).tobytes(order="A") for each in buffers]
        journal, again = self.queue.of(parent), None
        head: dict[str, Any] = {"op": "event", "message": event}
        if journal is not None:
            number, again = journal.keep(event, buffers)
            head.update(run=journal.run, n=number)
        link = self._reader(journal, parent)
        if link is not None:
            link.send(head, buffers, event=True, again=again)

    def _reader(self, journal: Journal | None, parent: dict[str, Any]) -> Link | None:
        """Who is shown an output: while a run goes on, whoever waits for it; else (a thread goes on when its cell has ended,
        or its results are home a moment before that is written) the client that its parent came from, the latest of its
        links: one that it gave up may still be kept."""
        if journal is not None and not journal.ended:
            owner = self.queue.owner(journal.run)
            if owner is not None or not journal.claimed:
                return owner
        return next((link for link in reversed(self.links) if parent.get("session") in link.sessions), None)
