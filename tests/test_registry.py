"""What a check knows of a private registry: its answers, its secret, and what must never be shown."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.engine.container import Engine
from fixtures.engine.registry import configuration, kind_workers
from fixtures.registry import REPOSITORY, Registry, answers_in, pull_secret

LOG = f"""\
time="2026-11-24T14:26:21Z" level=info msg="listening on [::]:5000, tls" go.version=go1.24.4
172.17.0.8 - - [24/Nov/2026:14:26:22 +0000] "HEAD /v2/{REPOSITORY}/manifests/a HTTP/1.1" 401 168 "" "containerd/2.3.4"
172.17.0.8 - - [24/Nov/2026:14:26:22 +0000] "HEAD /v2/{REPOSITORY}/manifests/ab HTTP/1.1" 401 168 "" "containerd/2.3.4"
172.17.0.8 - - [24/Nov/2026:14:26:22 +0000] "HEAD /v2/another/manifests/a HTTP/1.1" 500 168 "" "containerd/2.3.4"
172.17.0.8 - - [24/Nov/2026:14:26:22 +0000] "PUT /v2/{REPOSITORY}/manifests/a HTTP/1.1" 201 0 "" "python-urllib3/2.8.0"
172.17.0.8 - - [24/Nov/2026:14:26:22 +0000] "GET /v2/{REPOSITORY}/blobs/sha256:a HTTP/1.1" 206 9 "" "containerd/2.3.4"
172.17.0.8 - - [24/Nov/2026:14:26:23 +0000] "HEAD /v2/{REPOSITORY}/manifests/a HTTP/1.1" 200 948 "" "containerd/2.3.4"
"""


def test_answers_are_those_to_who_asks_for_the_image_under_this_tag() -> None:
    assert answers_in(LOG, "a") == [401, 200]
    assert answers_in(LOG, "ab") == [401]
    assert answers_in(LOG, "b") == []


def test_workers_are_known_by_their_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = {
        "io.x-k8s.kind.cluster=a": ["a-control-plane", "a-worker2", "a-worker"],
        "io.x-k8s.kind.role=worker": ["a-worker", "a-worker2", "b-worker"],
    }
    monkeypatch.setattr(Engine, "containers", lambda _, label: dict.fromkeys(labelled[label], "running"))
    assert kind_workers(object.__new__(Engine), "a") == ["a-worker", "a-worker2"]


@pytest.fixture
def tags() -> list[str]:
    return []


@pytest.fixture
def registry(tags: list[str]) -> Registry:
    return Registry("172.17.0.9:5000", "npu-e2e", "hidden-word", "sha256:0", "mark", tags.append, lambda: LOG)


def test_an_image_is_named_only_after_it_has_its_tag(registry: Registry, tags: list[str]) -> None:
    assert registry.image("a") == f"172.17.0.9:5000/{REPOSITORY}:a"
    assert tags == ["a"]
    assert registry.answers("a") == [401, 200]


def test_nothing_shows_the_password_by_accident(registry: Registry) -> None:
    assert "hidden-word" not in repr(registry)
    assert registry.credentials == ("hidden-word", "npu-e2e:hidden-word")


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(username=WORDS, password=WORDS)
def test_a_pull_secret_is_what_kubectl_makes(username: str, password: str) -> None:
    secret = pull_secret("regsecret", "here", host="registry:5000", username=username, password=password)
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert secret["metadata"] == {"name": "regsecret", "namespace": "here"}
    config = json.loads(base64.b64decode(secret["data"].pop(".dockerconfigjson")))
    assert not secret["data"]
    entry = config["auths"].pop("registry:5000")
    assert config == {"auths": {}}
    assert base64.b64decode(entry.pop("auth")).decode() == f"{username}:{password}"
    assert entry == {"username": username, "password": password}


def test_only_the_deliberate_fault_leaves_out_the_password() -> None:
    sound, faulty = configuration(secret_ignored=False), configuration(secret_ignored=True)
    assert sound.pop("auth") == {"htpasswd": {"realm": "npu-conformance", "path": "/registry/htpasswd"}}
    assert "auth" not in faulty
    for either in (sound, faulty):
        assert either["http"]["tls"] == {"certificate": "/registry/tls.crt", "key": "/registry/tls.key"}  # type: ignore[index]
