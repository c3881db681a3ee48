"""A wall clock that jumps, for processes of this machine that are started with ``environment``. See ``clock.c``."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

from testbeds.needs import command

SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """``environment`` is for whoever starts a process that is to have this clock; what that starts has it as well."""

    def __init__(self, folder: Path) -> None:
        library, shown = folder / "clock.so", folder / "clock"
        argv = [command("cc"), "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(argv, check=True)
        shown.write_bytes(bytes(8))
        with shown.open("r+b") as file:
            self._ahead = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CFTEST_CLOCK": str(shown)}

    def set_ahead(self, seconds: int) -> None:
        """The clock is so far ahead of this machine's from now on; negative: behind."""
        self._ahead[:] = struct.pack("=q", seconds)
