"""The private engine, as far as it takes no engine: what a killed one leaves mounted."""

from __future__ import annotations

from pathlib import Path

from fixtures.engine.private import mounts_under

MOUNTINFO = r"""
47 43 0:39 / /c/engine-data/overlay2/41/merged rw,relatime shared:1 - overlay overlay rw
48 27 254:0 /c/engine-data /c/engine-data rw,relatime shared:2 - ext4 /dev/vda rw
49 27 254:0 /c/engine-data /c/engine-data rw,relatime shared:3 - ext4 /dev/vda rw
50 27 254:0 /c/engine-database /c/engine-database rw,relatime shared:4 - ext4 /dev/vda rw
51 27 0:40 / /run/a\040b/exec/net rw - nsfs nsfs rw
52 27 0:41 / /run rw - tmpfs tmpfs rw
""".lstrip()


def test_all_that_is_mounted_on_a_folder_or_in_it_is_found_innermost_first() -> None:
    found = mounts_under((Path("/c/engine-data"), Path("/run/a b")), MOUNTINFO)
    assert found == [
        Path("/run/a b/exec/net"),
        Path("/c/engine-data/overlay2/41/merged"),
        Path("/c/engine-data"),
        Path("/c/engine-data"),
    ]
