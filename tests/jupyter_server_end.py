"""The end of a Jupyter server that a test has started."""

from __future__ import annotations

import subprocess

PATIENCE_S = 45


def end(server: subprocess.Popen[bytes]) -> None:
    """By SIGTERM. Now and then its interpreter then waits for ever for an idle thread of anyio's, when all else has ended."""
    server.terminate()
    try:
        server.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(PATIENCE_S)
