"""Fixtures of the tests of ACK, named as `pytest_plugins`: a fake OpenAPI, and nothing else within reach."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openapi.account import FakeAccount, dedicated_account
from openapi.guard import only_this_machine
from openapi.server import FakeOpenApi, serving


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """An environment without credentials and proxies, and a guard at the door; what tried to leave fails the test."""
    for name in list(os.environ):
        if name.startswith(("ALIBABA_CLOUD_", "NPU_E2E_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with only_this_machine() as left:
        yield left
    assert not left, f"contacted: {left}"


@pytest.fixture
def fake(alone: list[str]) -> Iterator[FakeOpenApi]:
    with serving(dedicated_account()) as running:
        yield running


@pytest.fixture
def fakes(alone: list[str]) -> Iterator[Callable[[FakeAccount], FakeOpenApi]]:
    """A fake with an account of the caller's; the same one, with another account, each time."""
    with serving(dedicated_account()) as running:

        def with_account(account: FakeAccount) -> FakeOpenApi:
            running.account = account
            running.faults.clear()
            running.asked.clear()
            return running

        yield with_account
