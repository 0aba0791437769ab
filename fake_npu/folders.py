"""Folders that tell when something in them changes, all through one inotify instance.

A user has 128 instances by default, of all containers together (fs.inotify.max_user_instances), and a kind cluster
takes most of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from asyncinotify import Event, Inotify, Mask


@dataclass
class Folders:
    """The folders that are watched.

    Attributes:
        inotify: the instance, which is whoever's who made it.
    """

    inotify: Inotify
    _told: dict[int, Callable[[Event], None]] = field(default_factory=dict)

    def watch(self, folder: Path, changes: Mask, tell: Callable[[Event], None]) -> None:
        """Call `tell` with what happens in `folder` from now on, and with word that events were lost.

        Raises:
            OSError: it cannot be watched.
        """
        self._told[self.inotify.add_watch(folder, changes).wd] = tell

    async def tell(self) -> None:
        """Tell of each event until cancelled, or until one who is told raises."""
        async for event in self.inotify:
            if event.watch is None:  # the kernel's queue overflowed: anything may have happened anywhere
                for tell in self._told.values():
                    tell(event)
            elif event.watch.wd in self._told:
                self._told[event.watch.wd](event)
