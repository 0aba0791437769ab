"""What all tests of the harness share: hypothesis has no deadline, as a busy machine is no bug, and SIGINT is heard."""

from __future__ import annotations

import gc
import os
import signal

import pytest
from hypothesis import settings

# before numpy is imported: beside a second process of tests, its threads wait for each other by spinning
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# a job in a shell's background is started with SIGINT ignored, and so would be the programs of the tests that send it
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    # of the tests alone: a check does not fail because Python, newer than a package, is about to drop what that uses
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line("filterwarnings", "ignore:datetime.datetime.utcnow:DeprecationWarning")  # Alibaba's SDK


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    # half of the time is spent in deadlines that are waited for, which another process can use
    return 2 * (os.cpu_count() or 1)


def pytest_collection_finish() -> None:
    # a run of pytest inside a test collects garbage several times as it ends: no need to look at all that is imported
    gc.collect()
    gc.freeze()
