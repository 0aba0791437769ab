"""What nodes are told of a registry, and which of their images are its."""

from __future__ import annotations

import json
import tomllib

from fixtures.engine.registrytrust import hosts_toml, images_of


def test_containerd_is_told_one_certificate_and_to_verify_by_it() -> None:
    assert tomllib.loads(hosts_toml("172.17.0.9:5000")) == {
        "server": "https://172.17.0.9:5000",
        "host": {
            "https://172.17.0.9:5000": {
                "capabilities": ["pull", "resolve"],
                "ca": ["/etc/containerd/certs.d/172.17.0.9:5000/ca.crt"],
            }
        },
    }


def test_images_of_a_registry_are_told_by_its_whole_address() -> None:
    images = [
        {"id": "sha256:1", "repoTags": ["172.17.0.9:5000/npu/workload:a", "172.17.0.9:5000/npu/workload:b"]},
        {"id": "sha256:2", "repoTags": ["172.17.0.9:50001/npu/workload:a"], "repoDigests": None},
        {"id": "sha256:3", "repoTags": [], "repoDigests": ["172.17.0.9:5000/npu/workload@sha256:4"]},
        {"id": "sha256:5", "repoTags": None, "repoDigests": ["docker.io/library/a@sha256:6"]},
    ]
    assert images_of("172.17.0.9:5000", json.dumps({"images": images})) == ["sha256:1", "sha256:3"]
    assert images_of("172.17.0.9:5000", json.dumps({"images": None})) == []
