"""An image goes to a registry whole: each blob that the manifest names is there, with the digest and size it names."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from fixtures.engine.archive import ImageFile, Layer, write_archive
from fixtures.engine.upload import MANIFEST, Repository, sent
from fixtures.errors import HarnessError

LOGIN = urllib3.make_headers(basic_auth="npu-e2e:word")


@dataclass
class Store:
    """What the registry has, and whether it takes more."""

    url: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    full: bool = False


@pytest.fixture
def store() -> Iterator[Store]:
    kept = Store()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def _allowed(self) -> bool:
            if self.headers["Authorization"] == LOGIN["authorization"]:
                return True
            self._answer(401)
            return False

        def do_HEAD(self) -> None:
            if self._allowed():
                self._answer(200 if self.path.rpartition("/")[2] in kept.blobs else 404)

        def do_POST(self) -> None:
            if self._allowed():
                self._answer(507 if kept.full else 202, Location="/v2/npu/workload/blobs/uploads/1?_state=x")

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self._allowed():
                return
            if manifest := re.fullmatch("/v2/npu/workload/manifests/(.+)", self.path):
                assert self.headers["Content-Type"] == MANIFEST
                kept.manifests[manifest[1]] = body
            else:
                query = parse_qs(urlsplit(self.path).query)
                assert query["_state"] == ["x"]
                if query["digest"] != [f"sha256:{hashlib.sha256(body).hexdigest()}"]:
                    self._answer(400)
                    return
                kept.blobs[query["digest"][0]] = body
            self._answer(201)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield kept
        server.shutdown()
        thread.join()


@pytest.fixture
def repository(store: Store) -> Iterator[Repository]:
    with urllib3.PoolManager(headers=LOGIN) as pool:
        yield Repository(pool, store.url, "npu/workload")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image of two layers, as `docker save` writes it."""
    layers = [Layer(texts={f"/{name}": (text, 0o644)}).write(tmp_path / f"{name}.tar") for name, text in ("ab", "cd")]
    write_archive(tmp_path / "image.tar", [ImageFile(["a:1"], layers, ["/a"])], "amd64")
    return tmp_path / "image.tar"


@pytest.fixture
def more(tmp_path: Path) -> Path:
    return Layer(texts={"/mark": ("mark", 0o644)}).write(tmp_path / "more.tar")


def test_every_blob_of_the_manifest_is_sent_and_the_last_layer_is_the_new_one(
    store: Store, repository: Repository, archive: Path, more: Path
) -> None:
    manifest = json.loads(sent(archive, more, repository))
    named = [manifest["config"], *manifest["layers"]]
    assert {one["digest"]: one["size"] for one in named} == {key: len(blob) for key, blob in store.blobs.items()}
    config = json.loads(store.blobs[manifest["config"]["digest"]])
    assert config["config"]["Entrypoint"] == ["/a"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    with tarfile.open(fileobj=io.BytesIO(store.blobs[manifest["layers"][-1]["digest"]])) as last:
        assert "mark" in last.getnames()


def test_a_compressed_layer_keeps_its_bytes_and_says_what_it_is(
    store: Store, repository: Repository, archive: Path, more: Path, tmp_path: Path
) -> None:
    with tarfile.open(archive) as tar:
        files = {name: file.read() for name in tar.getnames() if (file := tar.extractfile(name))}
    compressed = {k: gzip.compress(v) if k.endswith("layer.tar") else v for k, v in files.items()}
    with tarfile.open(tmp_path / "compressed.tar", "w") as tar:
        for name, data in compressed.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    manifest = json.loads(sent(tmp_path / "compressed.tar", more, repository))
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]]
    assert kinds == ["tar+gzip", "tar+gzip", "tar"]
    config = json.loads(store.blobs[manifest["config"]["digest"]])
    unpacked = [gzip.decompress(store.blobs[layer["digest"]]) for layer in manifest["layers"][:2]]
    assert config["rootfs"]["diff_ids"][:2] == [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in unpacked]


def test_what_the_repository_has_is_not_sent_again(
    store: Store, repository: Repository, archive: Path, more: Path
) -> None:
    first = sent(archive, more, repository)
    store.full = True
    assert sent(archive, more, repository) == first


def test_a_manifest_can_have_many_tags(store: Store, repository: Repository) -> None:
    repository.manifest("a", b"{}")
    repository.manifest("b", b"{}")
    assert store.manifests == {"a": b"{}", "b": b"{}"}


def test_a_registry_that_takes_nothing_is_named_with_its_answer(
    store: Store, repository: Repository, archive: Path, more: Path
) -> None:
    store.full = True
    with pytest.raises(HarnessError, match=r"answered POST .*/blobs/uploads/ with 507"):
        sent(archive, more, repository)


def test_a_registry_that_does_not_know_us_is_named(store: Store, archive: Path, more: Path) -> None:
    with urllib3.PoolManager() as pool, pytest.raises(HarnessError, match="with 401"):
        sent(archive, more, Repository(pool, store.url, "npu/workload"))


def test_a_registry_that_is_not_there_is_named(archive: Path, more: Path) -> None:
    with urllib3.PoolManager() as pool, pytest.raises(HarnessError, match="does not answer HEAD"):
        sent(archive, more, Repository(pool, "http://127.0.0.1:1", "npu/workload"))
