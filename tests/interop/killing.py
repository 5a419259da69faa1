"""Kills a server and starts it again, every now and then, while somebody else works with it."""

from __future__ import annotations

import random
import threading

from tests.interop.peers.processes import Server

# How long the server lives each time, and how long it stays dead.
ALIVE_SECONDS = (0.05, 1.2)
DEAD_SECONDS = (0.0, 0.3)


class Killer:
    """A thread with a list of moments drawn from *seed*.  `stop` leaves the server running."""

    def __init__(self, server: Server, seed: int) -> None:
        self.kills = 0
        self._server = server
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Kill no more.  Raises what went wrong."""
        self._stopped.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Raises what went wrong, such as a server that did not come up again."""
        if self._problem is not None:
            raise self._problem

    def _run(self) -> None:
        try:
            while not self._stopped.wait(self._random.uniform(*ALIVE_SECONDS)):
                self._server.kill()
                self.kills += 1
                self._stopped.wait(self._random.uniform(*DEAD_SECONDS))
                self._server.start_again()
        except BaseException as problem:
            self._problem = problem
