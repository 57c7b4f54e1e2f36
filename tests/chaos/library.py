"""The library of the rounds: a simulated Koha in this process, slow enough for whoever asks it to be struck meanwhile."""

from __future__ import annotations

import threading

from integrations.simulators.faults import Faults, parse_fault
from integrations.simulators.koha import Koha
from integrations.simulators.server import Pace, serve


class Library:
    """It answers until it is closed. Whatever is killed, it is not: what it was asked for is done, and counted."""

    def __init__(self, seed: int) -> None:
        self.koha = Koha(records=0, seed=seed, students=0, faults=Faults((parse_fault("slow"),), seed))
        self._server = serve(self.koha, 0, pace=Pace(slow=0.2))
        threading.Thread(target=self._server.serve_forever, name="library", daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
