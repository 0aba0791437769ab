"""The generated modules: current, and true to the wire. And what all of fake_npu may import."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

import pytest

import fake_npu.api
from fake_npu.api import deviceplugin_pb2, podresources_pb2

generator = pytest.importorskip("fake_npu.api.generate", reason="needs the dependency group `generate`")
HERE = Path(fake_npu.api.__file__).parent


def differences(made: Path, pattern: str) -> list[str]:
    """Names of the files of this kind that are not, in what was made, as they are in the repository."""
    found = {path.name: path.read_text() for path in (made / "fake_npu" / "api").iterdir()}
    kept = {path.name: path.read_text() for path in HERE.glob(pattern)}
    return sorted(name for name in found.keys() | kept.keys() if found.get(name) != kept.get(name))


def test_modules_are_current(tmp_path: Path) -> None:
    generator.generate_modules(tmp_path)
    assert differences(tmp_path, "*_pb2*.py") == []


@pytest.mark.skipif(shutil.which("protoc-gen-mypy") is None, reason="needs mypy-protobuf, which is not locked")
def test_stubs_are_current(tmp_path: Path) -> None:
    generator.generate_stubs(tmp_path)
    assert differences(tmp_path, "*_pb2*.pyi") == []


def test_without_the_maker_of_stubs_the_modules_are_made_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert generator.main([str(tmp_path)]) == 1
    assert differences(tmp_path, "*_pb2*.py") == []
    assert (
        capsys.readouterr().err == "The stubs are as they were: there is no protoc-gen-mypy. Install mypy-protobuf.\n"
    )


def test_stubs_know_every_message_and_field_of_the_modules() -> None:
    for module in (deviceplugin_pb2, podresources_pb2):
        name = Path(str(module.__file__)).with_suffix(".pyi")
        classes = {node.name: node for node in ast.parse(name.read_text()).body if isinstance(node, ast.ClassDef)}
        for message in module.DESCRIPTOR.message_types_by_name.values():
            said = {node.arg for node in ast.walk(classes[message.name]) if isinstance(node, ast.arg)}
            assert {field.name for field in message.fields} <= said, message.name


def test_messages_have_the_numbers_of_the_wire() -> None:
    response = deviceplugin_pb2.ContainerAllocateResponse()
    response.devices.add(container_path="c", host_path="h", permissions="rw")
    response.cdi_devices.add(name="n")
    # field 3 (devices): 1 "c", 2 "h", 3 "rw"; field 5 (cdi_devices): 1 "n"
    assert response.SerializeToString() == b"\x1a\x0a\x0a\x01c\x12\x01h\x1a\x02rw\x2a\x03\x0a\x01n"
    request = deviceplugin_pb2.RegisterRequest(version="v", endpoint="e", resource_name="r")
    request.options.get_preferred_allocation_available = True
    assert request.SerializeToString() == b"\x0a\x01v\x12\x01e\x1a\x01r\x22\x02\x10\x01"


def test_services_have_the_names_of_the_wire() -> None:
    services = {
        service.full_name: [method.name for method in service.methods]
        for module in (deviceplugin_pb2, podresources_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    assert services == {
        "v1beta1.Registration": ["Register"],
        "v1beta1.DevicePlugin": [
            "GetDevicePluginOptions", "ListAndWatch", "GetPreferredAllocation", "Allocate", "PreStartContainer",
        ],
        "v1.PodResourcesLister": ["List", "GetAllocatableResources", "Get"],
    }  # fmt: skip


def test_fake_npu_imports_nothing_of_ours_but_itself() -> None:
    allowed = {"asyncinotify", "fake_npu", "google", "grpc", "grpc_tools", "numpy", "prometheus_client", "tqdm"}
    for path in HERE.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path.name} imports {name}"
