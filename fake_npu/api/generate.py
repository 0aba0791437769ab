"""Makes the Python modules of the kubelet's interfaces from the .proto files of this folder."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

UNCHECKED = "# mypy: ignore-errors\n# ruff: noqa\n# fmt: off\n"
"""Put before each stub, whose style is the generator's; the one rule that the stubs name is unknown to ruff."""
SOURCES = ("deviceplugin.proto", "podresources.proto")


def generate(target: Path) -> None:
    """Write `fake_npu/api/*_pb2*.py*` for every .proto file under `target`.

    Raises:
        RuntimeError: a .proto file is wrong; protoc has said where on stderr.
    """
    here = Path(__file__).parent
    target.mkdir(parents=True, exist_ok=True)
    well_known = str(files("grpc_tools") / "_proto")
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    sources = [str(here / name) for name in SOURCES]
    if protoc.main(["protoc", f"-I{here.parent.parent}", f"-I{well_known}", *outputs, *sources]) != 0:
        raise RuntimeError("protoc failed: see its lines above.")
    for stub in (target / "fake_npu" / "api").glob("*_pb2*.pyi"):
        stub.write_text(UNCHECKED + stub.read_text().replace("# noqa: Y015", ""))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2])
