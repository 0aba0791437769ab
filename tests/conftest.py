"""What all tests of the harness share: examples of hypothesis have no deadline, as a busy machine is no bug."""

from __future__ import annotations

import os

from hypothesis import settings

# before numpy is imported: beside a second process of tests, its threads wait for each other by spinning
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
