"""The kernel of an earlier release, as far as its protocol goes: ``python -P -m old_guest FOLDER --control FD``."""

from __future__ import annotations

from cellferry.guest import meeting
from cellferry.guest.__main__ import main
from cellferry.parcels.wire import PROTOCOL

meeting.PROTOCOL = meeting.OLDEST_PROTOCOL = PROTOCOL - 1

if __name__ == "__main__":
    main()
