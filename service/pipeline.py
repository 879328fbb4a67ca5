"""One session run to completion, input by input: the loop for clips, tests and evaluation."""

from __future__ import annotations

from service.events import SessionEvent
from service.inputs import Input
from service.rounds import Batcher, settle
from service.session import Session


class Pipeline:
    """Pushes inputs through one session."""

    def __init__(self, session: Session, batcher: Batcher) -> None:
        self.session = session
        self._batcher = batcher

    def push(self, given: Input) -> tuple[SessionEvent, ...]:
        """Take one input and return what it brings about."""
        return settle([(self.session, self.session.advance(given))], self._batcher)[0]

    def finish(self) -> tuple[SessionEvent, ...]:
        """End the input and return the clip predictions."""
        return settle([(self.session, self.session.finish())], self._batcher)[0]
