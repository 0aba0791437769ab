"""Leaves out what only a cloud has, where the target is none, and what is not gentle, where the cluster is others'."""

from __future__ import annotations

import pytest

from fixtures.ack.rights import capabilities_of, is_gentle
from fixtures.checks import check_of
from fixtures.session import RECORD, RUN, SETTINGS

CLOUD_ONLY = ("test_ack_infrastructure.py", "test_ack_scaling.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the files of CLOUD_ONLY for the target ack, and there only gentle checks; nothing where --check names one.

    Of the gentle ones those stay for which the run has what they need. The catalogue has them all.
    """
    runs = RECORD in config.stash or config.option.npu_list
    if not runs or config.option.npu_checks:
        return
    settings = config.stash[SETTINGS]
    if settings.target != "ack":
        left_out = [item for item in items if item.path.name in CLOUD_ONLY]
        items[:] = [item for item in items if item not in left_out]
        if run := config.stash.get(RUN, None):  # the gate has to know that they were not lost
            run.left_out += [declared.id for item in left_out if (declared := check_of(item))]
        return
    has = capabilities_of(settings)
    rough = [
        item
        for item in items
        if (declared := check_of(item)) and not (is_gentle(declared) and has.issuperset(declared.needs))
    ]
    if rough:
        config.hook.pytest_deselected(items=rough)
        items[:] = [item for item in items if item not in rough]
