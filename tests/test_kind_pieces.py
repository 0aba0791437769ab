"""What a kind cluster is made from, as far as it takes no engine: go.mod files, archives, configuration, manifests."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from fake_npu import image as content
from fixtures import versions
from fixtures.documented import manifest
from fixtures.engine import gomodule, nodeparts, npuimage
from fixtures.engine.archive import ImageFile, Layer, write_archive
from fixtures.engine.machine import COLD_DISK, WARM_DISK, Machine, stands_in_the_way
from fixtures.targets.kind import Kept, kept_cluster
from fixtures.targets.kindconfig import CRI, kind_config
from fixtures.targets.npus import MARK, fake_npu_objects

HERE = Machine(
    linux=True, name="Debian", engine=None, why_no_private="", free_disk=COLD_DISK, cold=True, cgroup_v1=False,
    sys_resource=True,
)  # fmt: skip


def test_every_module_of_the_node_is_locked_to_its_version() -> None:
    modules = (nodeparts.KIND, nodeparts.CONTAINERD, nodeparts.CRICTL, nodeparts.CNI_PLUGINS,
               nodeparts.etcd(versions.ETCD), nodeparts.coredns(versions.COREDNS),
               nodeparts.kubernetes(versions.KUBERNETES))  # fmt: skip
    assert [module.name for module in modules if not module.is_locked] == []


def test_another_content_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {npuimage.image_name()}
    inputs = content.inputs()
    for key in inputs:  # the code of the fake NPU among them
        monkeypatch.setattr(content, "inputs", lambda key=key: {**inputs, key: "another"})
        names.add(npuimage.image_name())
    assert len(names) == 1 + len(inputs) >= 4


def test_another_release_repeats_its_own_replacements() -> None:
    committed = "module ours\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.37.2\n"
    released = "module k8s.io/kubernetes\n\ngo 1.25.0\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n"
    written = gomodule.unlocked_go_mod(nodeparts.kubernetes("1.36.1"), committed, released)
    assert "require k8s.io/kubernetes v1.36.1" in written
    assert "replace k8s.io/api => k8s.io/api v0.36.1" in written
    assert gomodule.go_directive(written) == (1, 25, 0)


def test_an_archive_holds_a_shared_layer_once(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"x" * 1000)
    layer = Layer({"/usr/bin/program": program}, links={"/bin": "usr/bin"}).write(tmp_path / "layer.tar")
    write_archive(tmp_path / "all.tar", [ImageFile(["a:1"], [layer]), ImageFile(["b:1"], [layer], ["/bin/p"])], "amd64")
    with tarfile.open(tmp_path / "all.tar") as tar:
        names = tar.getnames()
        file = tar.extractfile("manifest.json")
        assert file is not None
        images = json.load(file)
        layers = tar.extractfile(images[0]["Layers"][0])
        assert layers is not None
        with tarfile.open(fileobj=io.BytesIO(layers.read())) as inner:
            assert inner.getnames() == ["usr", "usr/bin", "usr/bin/program", "bin"]
    assert len([name for name in names if name.endswith("layer.tar")]) == 1
    assert [image["RepoTags"] for image in images] == [["a:1"], ["b:1"]]
    assert images[0]["Config"] != images[1]["Config"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"linux": False, "name": "Darwin"}, "needs Linux"),
        ({"why_no_private": "a private engine needs root"}, "needs root"),
        ({"free_disk": COLD_DISK - 1}, "GiB free"),
        ({"free_disk": WARM_DISK - 1, "cold": False}, "GiB free"),
    ],
)
def test_what_stands_in_the_way_is_said(change: dict[str, object], says: str) -> None:
    assert stands_in_the_way(HERE) == []
    (reason,) = stands_in_the_way(dataclasses.replace(HERE, **change))  # type: ignore[arg-type]
    assert says in reason.cause
    assert reason.remedy


def test_the_kind_configuration_fits_the_machine() -> None:
    plain = kind_config("n", workers=2, kubernetes="1.37.2", seen=HERE)
    assert [node["role"] for node in plain["nodes"]] == ["control-plane", "worker", "worker"]
    assert "failCgroupV1" not in plain["kubeadmConfigPatches"][0]
    assert "containerdConfigPatches" not in plain
    closed = dataclasses.replace(HERE, cgroup_v1=True, sys_resource=False)
    patched = kind_config("n", workers=1, kubernetes="1.35.0", seen=closed)
    kubelet = yaml.safe_load(patched["kubeadmConfigPatches"][0])
    assert kubelet["failCgroupV1"] is False
    assert kubelet["cgroupDriver"] == "cgroupfs"
    assert "cgroupDriver" not in yaml.safe_load(plain["kubeadmConfigPatches"][0])
    control_plane = yaml.safe_load(plain["kubeadmConfigPatches"][1])
    assert control_plane["etcd"]["local"]["extraArgs"] == [{"name": "unsafe-no-fsync", "value": "true"}]
    assert len(patched["kubeadmConfigPatches"]) == 1  # kubeadm of 1.35 is configured in a format without extraEnvs
    runtime, scores = (tomllib.loads(patch)["plugins"][CRI] for patch in patched["containerdConfigPatches"])
    assert runtime["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": False}
    assert scores == {"restrict_oom_score_adj": True}
    assert patched["featureGates"] == {"ResourceHealthStatus": True}


def test_a_record_of_a_cluster_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    assert kept_cluster(file) is None
    file.write_text("[]")
    assert kept_cluster(file) is None
    Kept("abc", {"node": "id then"}).write(file)
    assert kept_cluster(file) == Kept("abc", {"node": "id then"})


def test_a_change_of_the_fake_npus_is_rolled_out() -> None:
    def marks(count: int) -> set[str]:
        objects = fake_npu_objects("image:1", resource="example.com/npu", count=count)
        (config,) = (obj for obj in objects if obj["kind"] == "ConfigMap")
        assert f"count = {count}\n" in config["data"]["fake-npu.toml"]
        assert 'resource_name = "example.com/npu"' in config["data"]["fake-npu.toml"]
        sets = [obj for obj in objects if obj["kind"] == "DaemonSet"]
        assert {c["image"] for obj in sets for c in obj["spec"]["template"]["spec"]["containers"]} == {"image:1"}
        return {obj["spec"]["template"]["metadata"]["annotations"][MARK] for obj in sets}

    assert len(marks(4) | marks(12)) == 2


def test_the_manifest_is_the_documented_one() -> None:
    pod = manifest(None, "aliyun.com/npu")
    assert pod["metadata"]["name"] == "test-npu-pod"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "regsecret"}]
    (container,) = pod["spec"]["containers"]
    assert container["name"] == "resnet50-npu"
    assert container["resources"] == {"limits": {"aliyun.com/npu": 1}}
    changed = manifest("other:1", "example.com/npu")["spec"]["containers"][0]
    assert (changed["image"], changed["resources"]) == ("other:1", {"limits": {"example.com/npu": 1}})
