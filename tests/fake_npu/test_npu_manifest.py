"""The manifest that a person applies: valid where it can be told without a cluster, and no more rights than needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from npu_bench import REPOSITORY

from fake_npu.config import Config, load

Object = dict[str, Any]


@pytest.fixture(scope="module")
def objects() -> dict[str, Object]:
    """Every object of the manifest by kind and name."""
    text = (REPOSITORY / "fake_npu" / "manifests" / "fake-npu.yaml").read_text()
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(text)}


def pod_of(objects: dict[str, Object], name: str) -> Object:
    pod: Object = objects[f"DaemonSet/{name}"]["spec"]["template"]["spec"]
    return pod


def container_of(objects: dict[str, Object], name: str) -> Object:
    (container,) = pod_of(objects, name)["containers"]
    return dict(container)


def test_it_holds_what_it_says(objects: dict[str, Object]) -> None:
    assert list(objects) == [
        "Namespace/npu-system", "ConfigMap/fake-npu", "DaemonSet/fake-npu-driver", "DaemonSet/fake-npu",
    ]  # fmt: skip
    for name, each in objects.items():
        assert name.startswith("Namespace/") or each["metadata"]["namespace"] == "npu-system"


@pytest.mark.parametrize("name", ["fake-npu", "fake-npu-driver"])
def test_a_daemonset_selects_its_own_pods_and_runs_the_one_image(objects: dict[str, Object], name: str) -> None:
    spec = objects[f"DaemonSet/{name}"]["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    container = container_of(objects, name)
    assert container["image"] == "npu-conformance/fake-npu:latest"
    assert container["imagePullPolicy"] == "IfNotPresent"
    module = {"fake-npu": "fake_npu.plugin", "fake-npu-driver": "fake_npu.driver"}[name]
    assert container["command"] == ["python3", "-m", module]
    assert (REPOSITORY / f"{module.replace('.', '/')}.py").is_file()
    assert pod_of(objects, name)["automountServiceAccountToken"] is False
    assert pod_of(objects, name)["enableServiceLinks"] is False  # its variables would read as unknown keys


def test_the_plugin_has_no_right_that_it_does_not_need(objects: dict[str, Object]) -> None:
    rights = container_of(objects, "fake-npu")["securityContext"]
    assert not rights.get("privileged", False)
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    pod = pod_of(objects, "fake-npu")
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    mounts = {mount["name"]: mount for mount in container_of(objects, "fake-npu")["volumeMounts"]}
    assert {name for name, mount in mounts.items() if not mount.get("readOnly")} == {
        "state", "device-plugins", "cdi", "run",
    }  # fmt: skip


def test_the_driver_alone_is_privileged_and_its_root_is_read_only(objects: dict[str, Object]) -> None:
    rights = container_of(objects, "fake-npu-driver")["securityContext"]
    assert rights == {"privileged": True, "readOnlyRootFilesystem": True}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod_of(objects, "fake-npu-driver").keys()


@pytest.mark.parametrize("name", ["fake-npu", "fake-npu-driver"])
def test_both_read_the_one_configmap_at_the_place_that_the_variable_names(
    objects: dict[str, Object], name: str
) -> None:
    container = container_of(objects, name)
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod_of(objects, name)["volumes"]}
    assert volumes.keys() == mounts.keys()
    assert volumes["config"]["configMap"] == {"name": "fake-npu"}
    (variable,) = (entry for entry in container["env"] if entry["name"] == "FAKE_NPU_CONFIG")
    folder, _, file = variable["value"].rpartition("/")
    assert folder == mounts["config"]["mountPath"]
    assert file in objects["ConfigMap/fake-npu"]["data"]


@pytest.mark.parametrize("name", ["fake-npu", "fake-npu-driver"])
def test_its_configuration_loads_with_the_containers_variables_and_every_path_is_mounted(
    objects: dict[str, Object], name: str, tmp_path: Path
) -> None:
    (text,) = objects["ConfigMap/fake-npu"]["data"].values()
    (tmp_path / "fake-npu.toml").write_text(text)
    uid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    container = container_of(objects, name)
    told = {entry["name"]: entry.get("value", uid) for entry in container["env"]}
    config = load({**told, "FAKE_NPU_CONFIG": str(tmp_path / "fake-npu.toml")})
    assert isinstance(config, Config)
    assert (config.resource_name, config.count) == ("aliyun.com/npu", 4)
    places = [Path(mount["mountPath"]) for mount in container["volumeMounts"]]
    used = [config.dev_dir, config.state_dir]
    if name == "fake-npu":
        used += [config.device_plugin_dir, config.pod_resources_socket, config.cdi_dir, config.control_socket]
        assert config.instance == uid
        assert container["ports"] == [{"name": "http", "containerPort": config.http_port}]
        for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
            assert container[probe]["httpGet"] == {"path": path, "port": "http"}
        (annotations,) = [objects["DaemonSet/fake-npu"]["spec"]["template"]["metadata"]["annotations"]]
        assert annotations["prometheus.io/port"] == str(config.http_port)
    for needed in used:
        assert any(needed.is_relative_to(place) for place in places), needed


def test_paths_of_the_host_are_the_same_in_the_container_but_for_dev(objects: dict[str, Object]) -> None:
    """The plugin tells the kubelet paths that it sees itself."""
    for name in ("fake-npu", "fake-npu-driver"):
        mounts = {mount["name"]: mount["mountPath"] for mount in container_of(objects, name)["volumeMounts"]}
        for volume in pod_of(objects, name)["volumes"]:
            if "hostPath" in volume and volume["name"] != "dev":
                assert mounts[volume["name"]] == volume["hostPath"]["path"]
