"""Work beside the gate's own, hashing and drawing, on the processors that reading leaves free."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Generic, TypeVar

from fixtures.errors import HarnessError

Piece = TypeVar("Piece")
Result = TypeVar("Result")

MANY = 20
"""Runs from which a process of its own, which takes a third of a second to start, is worth it."""
MOST_HELPERS = 4
"""Reading, which is not shared, takes longer than what four do meanwhile."""


@contextlib.contextmanager
def beside(runs: int) -> Iterator[Executor]:
    """Where to do what can be done meanwhile: other processes if there are MANY `runs`, else threads.

    Everything that is given to it, and returned, has to be picklable. None of it runs any more after the block.

    Raises:
        HarnessError: a process was ended by somebody, such as the kernel for want of memory.
    """
    spare = min((os.cpu_count() or 1) - 1, MOST_HELPERS)
    if runs < MANY or not spare:
        pool: Executor = ThreadPoolExecutor(os.cpu_count())
    else:  # not forked: a fork inherits the locks of threads that it has not
        pool = ProcessPoolExecutor(spare, multiprocessing.get_context("spawn"), _end_with_parent)
    try:
        yield pool
    except BrokenExecutor as error:
        reason = "A process that helped the gate to read was ended from outside."
        raise HarnessError(reason, "Give it more memory, then run the gate again.") from error
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass
class Shared(Generic[Piece, Result]):
    """Work in pieces, which others do meanwhile; what nobody has begun when it is asked for is done by who asks.

    Attributes:
        pool: the others.
        work: does a piece; both, and what comes of it, are picklable.
    """

    pool: Executor
    work: Callable[[Piece], Result]
    _begun: list[tuple[Piece, Future[Result]]] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Have one more piece done."""
        self._begun.append((piece, self.pool.submit(self.work, piece)))

    def results(self) -> list[Result]:
        """Of every piece, in the order in which they were added. Raises what the first of them raised."""
        done: dict[int, Result] = {}
        for place in reversed(range(len(self._begun))):
            piece, begun = self._begun[place]
            if begun.cancel():
                done[place] = self.work(piece)
        return [done[place] if place in done else begun.result() for place, (_, begun) in enumerate(self._begun)]


def _end_with_parent() -> None:
    """Leave interrupts to the parent, do not outlive it, and end at once, as there is nothing to be closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(os._exit, 0)
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_end_after, args=[parent.sentinel], daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
