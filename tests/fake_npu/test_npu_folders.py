"""Folders that tell of changes: each its own, and all when the kernel had to drop some."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from asyncinotify import Event, Inotify, Mask

from fake_npu.folders import Folders

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


def told(folder: Path, change: Callable[[Path, Path], None], wanted: int) -> dict[str, list[Event]]:
    """What two folders were told of after `change`, once `wanted` events have come."""
    seen: dict[str, list[Event]] = {"one": [], "two": []}
    enough = asyncio.Event()

    async def follow() -> None:
        with Inotify() as inotify:
            folders = Folders(inotify)
            for name, events in seen.items():

                def tell(event: Event, events: list[Event] = events) -> None:
                    events.append(event)
                    if sum(map(len, seen.values())) >= wanted:
                        enough.set()

                (folder / name).mkdir()
                folders.watch(folder / name, Mask.CREATE | Mask.DELETE, tell)
            change(folder / "one", folder / "two")
            telling = asyncio.create_task(folders.tell())
            async with asyncio.timeout(30):
                await enough.wait()
            telling.cancel()

    asyncio.run(follow())
    return seen


def test_each_is_told_of_its_own(tmp_path: Path) -> None:
    def change(one: Path, two: Path) -> None:
        (two / "b").touch()
        (one / "a").touch()
        (one / "a").unlink()

    seen = told(tmp_path, change, wanted=3)
    assert [(str(event.name), event.mask) for event in seen["one"]] == [("a", Mask.CREATE), ("a", Mask.DELETE)]
    assert [str(event.name) for event in seen["two"]] == ["b"]


def test_all_are_told_when_events_were_lost(tmp_path: Path) -> None:
    kept = int(QUEUE.read_text())
    if kept > 1 << 17:
        pytest.skip(f"the kernel keeps {kept} events")

    def change(one: Path, _two: Path) -> None:
        for _ in range(kept // 2 + 1):
            (one / "a").touch()
            (one / "a").unlink()

    seen = told(tmp_path, change, wanted=kept + 2)
    assert [event.mask for event in seen["two"]] == [Mask.Q_OVERFLOW]
    assert seen["one"][-1].mask == Mask.Q_OVERFLOW


def test_who_is_told_may_end_it(tmp_path: Path) -> None:
    def refuse(_event: Event) -> None:
        raise LookupError("gone")

    async def follow() -> None:
        with Inotify() as inotify:
            folders = Folders(inotify)
            folders.watch(tmp_path, Mask.CREATE, refuse)
            (tmp_path / "a").touch()
            async with asyncio.timeout(10):
                await folders.tell()

    with pytest.raises(LookupError, match="gone"):
        asyncio.run(follow())
