"""Makes the Python modules of the kubelet's interfaces from the .proto files of this folder.

`python -m fake_npu.api.generate` needs the dependency group `generate`; for the stubs also mypy-protobuf, which is
not among the locked packages.
"""

from __future__ import annotations

import shutil
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

UNCHECKED = "# mypy: ignore-errors\n# ruff: noqa\n# fmt: off\n"
"""Put before each stub, whose style is the generator's; the one rule that the stubs name is unknown to ruff."""
SOURCES = ("deviceplugin.proto", "podresources.proto")
STUBS_MAKER = "protoc-gen-mypy"
"""The program of mypy-protobuf that protoc calls for the stubs."""


def generate_modules(target: Path) -> None:
    """Write `fake_npu/api/*_pb2*.py` for every .proto file under `target`.

    Raises:
        RuntimeError: a .proto file is wrong; protoc has said where on stderr.
    """
    _protoc(target, "python", "grpc_python")


def generate_stubs(target: Path) -> None:
    """Write `fake_npu/api/*_pb2*.pyi` for every .proto file under `target`.

    Raises:
        RuntimeError: mypy-protobuf is not there, or a .proto file is wrong; protoc has said where on stderr.
    """
    _protoc(target, "mypy", "mypy_grpc")
    for stub in (target / "fake_npu" / "api").glob("*_pb2*.pyi"):
        stub.write_text(UNCHECKED + stub.read_text().replace("# noqa: Y015", ""))


def _protoc(target: Path, *kinds: str) -> None:
    here = Path(__file__).parent
    target.mkdir(parents=True, exist_ok=True)
    well_known = str(files("grpc_tools") / "_proto")
    outputs = [f"--{kind}_out={target}" for kind in kinds]
    sources = [str(here / name) for name in SOURCES]
    if protoc.main(["protoc", f"-I{here.parent.parent}", f"-I{well_known}", *outputs, *sources]) != 0:
        raise RuntimeError("protoc failed: see its lines above.")


def main(arguments: list[str]) -> int:
    """Write modules and stubs under the folder that is named, else in place.

    Returns:
        0; 1 when the stubs could not be made for want of mypy-protobuf.
    """
    target = Path(arguments[0]) if arguments else Path(__file__).parents[2]
    generate_modules(target)
    if shutil.which(STUBS_MAKER) is None:
        print(f"The stubs are as they were: there is no {STUBS_MAKER}. Install mypy-protobuf.", file=sys.stderr)
        return 1
    generate_stubs(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
