"""Leaves out what only a cloud has, where the target is none: a claim about nothing is neither held nor broken."""

from __future__ import annotations

import pytest

from fixtures.session import RECORD, SETTINGS

CLOUD_ONLY = ("test_ack_infrastructure.py", "test_ack_scaling.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the files of CLOUD_ONLY for the target ack, for the catalogue, and for whoever names one by --check."""
    runs = RECORD in config.stash or config.option.npu_list
    if runs and not config.option.npu_checks and config.stash[SETTINGS].target != "ack":
        items[:] = [item for item in items if item.path.name not in CLOUD_ONLY]
