"""What each interrupt of a cell that is waited for does: the first is the cell's, the second comes from outside of its kernel, the
third ends that kernel, and one after these gives up what cannot be reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from cellferry.errors import CellferryError, WorkerLost
from cellferry.link.http import WorkerHttp
from cellferry.link.redial import Redial
from cellferry.link.silence import Silence
from cellferry.model import Endpoint
from cellferry.screen import Screen

_ANSWER_S = 30.0
"""The worker's server is started by the first request, which takes seconds on a busy machine."""
_PATIENCE_S = 15.0
"""How long the end of a kernel may take before another interrupt leaves it."""


class Pressing:
    """One for each link. ``run``: which one is waited for. ``send``: gives the kernel the word; never waits."""

    def __init__(
        self, endpoint: Endpoint, name: str, screen: Screen, redial: Redial, silence: Silence,
        run: Callable[[], str], send: Callable[[], None],
    ) -> None:  # fmt: skip
        self._http, self._name, self._screen = WorkerHttp(endpoint, timeout_s=_ANSWER_S), name, screen
        self._redial, self._silence, self._run, self._send = redial, silence, run, send
        self._ending_s = 0.0
        self._failed = ""

    def press(self, times: int) -> None:
        """The n-th interrupt of the running cell. Returns at once; raises WorkerLost where there is nothing to wait for."""
        away = self._redial.away
        if away is not None and away.warned:
            raise self._redial.give_up()
        if times > 3 and (self._failed or time.monotonic() - self._ending_s > _PATIENCE_S):
            raise self._given_up()
        self._silence.pressed(times)
        if away is not None:
            away.warned = True
            self._send()
            self._screen.note(
                f"the connection to {self._name} is lost and the cell goes on there; the interrupt is delivered as soon as the "
                "worker can be reached. Interrupt once more to stop waiting for that"
            )
        elif times == 2:  # this way alone: one press is one signal, and a cell that is ending bears no more
            self._silence.asked()
            self._ask("kernel/interrupt", {"run": self._run()})
        elif times == 3:
            self._ending_s = time.monotonic()
            self._silence.asked()
            self._ask("kernel/restart")
        else:
            self._send()

    def _ask(self, path: str, told: dict[str, Any] | None = None) -> None:
        """Beside the wait: the answer may take seconds, and the next press must be counted meanwhile."""

        def ask() -> None:
            try:
                self._http.post(path, told)
            except CellferryError as error:
                self._failed = error.what
                self._screen.note(
                    f"worker {self._name} did not take the interrupt ({error.what}); the cell goes on there. Interrupt again, or "
                    f"end the worker: interrupt until the prompt is back, then %remote down {self._name}"
                )

        threading.Thread(target=ask, name="cellferry-interrupt", daemon=True).start()

    def _given_up(self) -> WorkerLost:
        why = f" ({self._failed})" if self._failed else ""
        error = WorkerLost(
            f"the kernel of worker {self._name!r} could not be ended{why}, and you stopped waiting for it; the cell may go on there",
            f"end the worker: %remote down {self._name}",
        ).not_again()
        error.goes_on = True
        self._redial.lost = self._redial.lost or error
        return error
