"""How a client and this kernel meet, and meet again after the network failed: versions, sessions, absence."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cellferry.parcels.wire import HASHED_TEXT, OLDEST_PROTOCOL, PROTOCOL, Channel

if TYPE_CHECKING:
    from cellferry.guest.door import Door, Link

LEFT_S = 2.0
"""A client that has not come back by then has left, for all others: what it runs is shown to them as nobody's."""
_LOOK_S = 0.5
_INTERRUPT_AGAIN_S = 5.0


def agreed(hello: dict[str, Any]) -> int | None:
    """The newest version that both speak; None if there is none. A client that states no oldest one speaks one alone."""
    newest = min(int(hello.get("protocol", 1)), PROTOCOL)
    oldest = max(int(hello.get("oldest", hello.get("protocol", 1))), OLDEST_PROTOCOL)
    return newest if newest >= oldest else None


def turn_away(channel: Channel) -> None:
    """Tell a client that speaks no version of ours which ones these are; it says so to its user."""
    channel.send({"op": "welcome", "protocol": PROTOCOL, "oldest": OLDEST_PROTOCOL})
    channel.close()


def join(link: Link, channel: Channel, hello: dict[str, Any], *, resumed: bool) -> bool:
    """Let the link go on over ``channel``. The caller sees to it that nobody else does the same for this link."""
    got = link.channel.detach()
    channel.send({
        "op": "welcome", "protocol": agreed(hello), "oldest": OLDEST_PROTOCOL, "resumed": resumed, "got": got, "pid": os.getpid(),
        "python": list(sys.version_info[:3]), "work": str(link.cells.files.root), "names": link.cells.names(),
        "text_hash": hash(HASHED_TEXT),
    })  # fmt: skip
    return link.channel.attach(channel, int(hello.get("got", 0)))


def known(links: Sequence[Link], hello: dict[str, Any]) -> Link | None:
    """The link that this client comes back to."""
    return next((link for link in links if link.session and link.session == hello.get("session")), None)


def forsaken(links: Sequence[Link], hello: dict[str, Any]) -> list[Link]:
    """Links that the same process had before and will not come back to: nothing of them is wanted any more."""
    same = [link for link in links if link.client and link.client == hello.get("client")]
    gone = [link for link in same if not link.channel.attached]
    return [link for link in gone if link.waiting is not None or not (link.at_work or link.channel.waiting)]


def wait_for_client(door: Door, link: Link) -> None:
    """Called in the link's own thread when its connection is gone; returns when there is another one.

    Meanwhile its cell goes on, or is interrupted if the user wants that. A link that nobody comes back to is closed after
    the time that the lease gives to an unused worker, or to one whose notebook is gone where the values of a cell have come only
    in part; then this raises WireClosed.
    """
    since_s = time.monotonic() if link.channel.broken_s is None else link.channel.broken_s
    interrupt_s, left = since_s + link.stop_after_s, False
    door.tell_state()
    while not link.channel.wait_attached(_LOOK_S):
        now_s = time.monotonic()
        if not left and now_s - since_s >= LEFT_S:
            left = True
            door.left(link)
        if link.at_work and now_s >= interrupt_s:
            interrupt_s = now_s + _INTERRUPT_AGAIN_S
            link.interrupt()
        if now_s - since_s > _kept_s(door, link):
            link.channel.close()
    door.queue.back(link)
    door.tell_state()


def _kept_s(door: Door, link: Link) -> float:
    if link.waiting is not None:
        return min(door.keep_s, door.grace_s)
    return math.inf if link.at_work else door.keep_s
