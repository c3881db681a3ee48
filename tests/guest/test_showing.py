"""Who is shown an output of a cell that has ended, or is about to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cellferry.guest.journal import Journal
from cellferry.guest.masking import Masking
from cellferry.guest.queue import Queue
from cellferry.guest.showing import Showing


class Client:
    """A link's end in the kernel, as far as outputs need it."""

    def __init__(self) -> None:
        self.sessions, self.sent, self.cells = {"s"}, [], SimpleNamespace(done=None)

    def send(self, meta: dict[str, Any], buffers: Any = (), **_: Any) -> None:
        self.sent.append(meta)


@pytest.mark.parametrize("ended", [False, True])
def test_a_thread_is_heard_when_the_results_are_home(tmp_path: Path, ended: bool) -> None:
    """The client has everything and says so; that the run has ended is written a moment later."""
    client: Any = Client()
    door: Any = Showing()
    door.masking, door.queue, door.links = Masking(), Queue(tmp_path), [client]
    parent = {"msg_id": "m", "session": "s"}
    journal: Journal = door.queue.take(client, {"run": "r", "parent": {"header": parent}, "header": parent})
    journal.began()
    if ended:
        journal.end({"status": "ok"})
    door.queue.claimed(client, "r")
    door.emit({"header": {"msg_type": "display_data", "msg_id": "x"}, "parent_header": parent, "content": {}}, [])
    assert [meta["op"] for meta in client.sent] == ["taken", "event"]
    journal.close()
