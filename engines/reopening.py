"""An engine that comes back: when its runtime has gone it is opened again, and every run until then fails at once.

Owns the wish to have a lost engine back and the thread that tries. Does not own how an engine is opened, or what a run without a
result means to a session (`service/rounds.py`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from engines.engine import Arrays, BackendLost, Engine, EngineError, EngineInfo

log = logging.getLogger("mien.engines")
EVERY_S = 0.5
"""Between two tries to open a lost engine."""


class ReopeningEngine:
    """Runs `engine`; after a BackendLost, what `reopen` makes as soon as it makes one that runs on the same thing.

    `reopen` is called in a thread of its own, every `every_s` seconds; `run` never waits for it.
    """

    def __init__(self, engine: Engine, reopen: Callable[[], Engine], every_s: float = EVERY_S) -> None:
        self.info: EngineInfo = engine.info
        self._engine: Engine | None = engine
        self._reopen = reopen
        self._every_s = every_s
        self._why = ""
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def run(self, inputs: Arrays) -> Arrays:
        """Run one batch.

        Raises:
            EngineError: the engine is closed, the inputs do not fit, or the run failed.
            BackendLost: the runtime has gone, now or before, and is not back yet.
        """
        engine = self._engine
        if self._closed.is_set():
            raise EngineError("the engine is closed; open the graph again")
        if engine is None:
            raise BackendLost(f"{self._why}; it is tried again every {self._every_s:g} s")
        try:
            return engine.run(inputs)
        except BackendLost as error:
            self._why, self._engine = str(error), None
            log.warning("lost: %s; trying again every %g s", error, self._every_s)
            threading.Thread(target=self._bring_back, args=(engine,), name="reopen", daemon=True).start()
            raise

    def close(self) -> None:
        """Release the engine and try no more. May be called again."""
        with self._lock:
            self._closed.set()
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _bring_back(self, lost: Engine) -> None:
        lost.close()
        while not self._closed.wait(self._every_s):
            try:
                engine = self._reopen()
            except EngineError as error:
                self._why = str(error)
                continue
            except Exception as error:
                self._why = f"{type(error).__name__}: {error}"
                log.exception("opening a lost engine again failed by an error of ours")
                continue
            # Events name what runs: it must not become another runtime, or another device of it, unsaid.
            if engine.info.backend != self.info.backend:
                self._why = f"it came back as {engine.info.backend} and was {self.info.backend}; start again to use it"
                engine.close()
                continue
            with self._lock:
                if not self._closed.is_set():
                    self._engine = engine
                    log.info("back: %s", engine.info.backend)
                    return
            engine.close()
