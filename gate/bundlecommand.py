"""`npu-e2e bundle`: packs, and prints the name, the size and the hash of the archive."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from fixtures.errors import ExitCode, HarnessError
from gate.bundle import write_bundle
from gate.envelope import RefusedError, public_key


def run(arguments: argparse.Namespace) -> int:
    """Pack and print.

    Raises:
        HarnessError: something that is named cannot be read, or the archive cannot be written.
    """
    bundle = Path(arguments.to)
    folders = [Path(folder) for folder in arguments.results]
    try:
        size = write_bundle(bundle, Path(arguments.output), folders, public_key(Path(arguments.key)))
        with bundle.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except RefusedError as error:
        print(f"REFUSED: {error.cause}\n{error.remedy}", file=sys.stderr)
        return ExitCode.FAILED
    except OSError as error:
        raise HarnessError(f"{bundle} cannot be written ({error.strerror}).", "Name another file with --to.") from error
    print(f"{bundle}: {size / 1e6:.1f} MB, sha256:{digest}")
    return ExitCode.OK
