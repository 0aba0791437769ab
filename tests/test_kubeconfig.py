"""Kubeconfigs: what the copy says, what the original keeps, and what an error does not say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fixtures.errors import HarnessError
from fixtures.kubeconfig import chosen, contents, private_copy, server_of

TWO: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "one",
    "clusters": [
        {"name": "c1", "cluster": {"server": "https://one:6443/", "certificate-authority": "pki/ca.crt"}},
        {"name": "c2", "cluster": {"server": "https://two:6443", "certificate-authority-data": "QUJD"}},
    ],
    "contexts": [
        {"name": "one", "context": {"cluster": "c1", "user": "u1"}},
        {"name": "two", "context": {"cluster": "c2", "user": "u2", "namespace": "lab"}},
    ],
    "users": [
        {"name": "u1", "user": {"client-certificate": "pki/me.crt", "client-key": "/abs/me.key", "tokenFile": "t"}},
        {"name": "u2", "user": {"exec": {"command": "bin/login", "args": ["--x", "./y"], "apiVersion": "v1"}}},
    ],
}


def written(file: Path, config: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return file


def test_the_copy_works_from_anywhere_and_the_original_is_as_it_was(tmp_path: Path) -> None:
    source = written(tmp_path / "home" / "config", TWO)
    source.chmod(0o400)
    source.parent.chmod(0o500)
    before = source.stat()
    text = source.read_bytes()
    try:
        made = private_copy(source, tmp_path / "run", context="two")
    finally:
        source.parent.chmod(0o700)
    config = yaml.safe_load(made.read_text())
    home = str(tmp_path / "home")
    assert config["current-context"] == "two"
    assert config["clusters"][0]["cluster"]["certificate-authority"] == f"{home}/pki/ca.crt"
    assert config["users"][0]["user"] == {
        "client-certificate": f"{home}/pki/me.crt",
        "client-key": "/abs/me.key",
        "tokenFile": f"{home}/t",
    }
    assert config["users"][1]["user"]["exec"]["command"] == f"{home}/bin/login"
    assert config["users"][1]["user"]["exec"]["args"] == ["--x", "./y"]
    assert made.stat().st_mode & 0o777 == 0o600
    assert made.parent.stat().st_mode & 0o777 == 0o700
    after = source.stat()
    assert (source.read_bytes(), after.st_mtime_ns, after.st_ino, after.st_mode) == (
        text,
        before.st_mtime_ns,
        before.st_ino,
        before.st_mode,
    )


def test_the_current_context_stays_when_none_is_asked_for(tmp_path: Path) -> None:
    made = private_copy(written(tmp_path / "config", TWO), tmp_path / "run")
    assert yaml.safe_load(made.read_text())["current-context"] == "one"
    assert server_of(made) == "https://one:6443"
    assert server_of(made, "two") == "https://two:6443"
    assert chosen(made, "two").namespace == "lab"


def test_a_plugin_without_a_slash_is_looked_up_in_path(tmp_path: Path) -> None:
    config = copy.deepcopy(TWO)
    config["users"][1]["user"]["exec"]["command"] = "ack-ram-tool"
    made = private_copy(written(tmp_path / "config", config), tmp_path / "run")
    assert chosen(made, "two").user["exec"]["command"] == "ack-ram-tool"


def test_paths_are_relative_to_the_folder_of_a_link_as_for_kubectl(tmp_path: Path) -> None:
    source = written(tmp_path / "vault" / "config", TWO)
    link = tmp_path / "home" / "config"
    link.parent.mkdir()
    link.symlink_to(source)
    assert chosen(link).cluster["certificate-authority"] == str(tmp_path / "home" / "pki" / "ca.crt")


def test_a_link_where_the_copy_goes_is_replaced_not_followed(tmp_path: Path) -> None:
    source = written(tmp_path / "config", TWO)
    other = written(tmp_path / "other", "precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kubeconfig").symlink_to(other)
    assert not private_copy(source, tmp_path / "run").is_symlink()
    assert other.read_text() == "precious"


def test_an_original_where_the_copy_should_go_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "kubeconfig", TWO)
    before = source.read_bytes()
    with pytest.raises(HarnessError, match="lies where its copy should go"):
        private_copy(source, tmp_path, context="two")
    assert source.read_bytes() == before


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in copy.deepcopy(TWO).items() if k != key}


LOOSE = {**TWO, "contexts": [{"name": "one", "context": {"cluster": "gone", "user": "u1"}}]}
NOBODY = {**TWO, "contexts": [{"name": "one", "context": {"cluster": "c1", "user": "nobody"}}]}
NO_SERVER = {**TWO, "clusters": [{"name": "c1", "cluster": {}}]}


@pytest.mark.parametrize(
    ("config", "context", "cause", "remedy"),
    [
        (TWO, "three", "no context three", "It has one, two"),
        (without("current-context"), None, "no current context", "It has one, two"),
        ({**TWO, "contexts": []}, "one", "no context one", "It has none"),
        (without("clusters"), None, "is not a kubeconfig", "get-contexts"),
        ({**TWO, "kind": "Pod"}, None, "is not a kubeconfig", "get-contexts"),
        ({**TWO, "users": ["u1"]}, None, "is not a kubeconfig", "get-contexts"),
        ("just words", None, "is not a kubeconfig", "get-contexts"),
        ("", None, "is not a kubeconfig", "get-contexts"),
        (LOOSE, None, "leads to a cluster that is not there: gone", "Add the cluster"),
        (NOBODY, None, "leads to a user that is not there: nobody", "Add the user"),
        (NO_SERVER, None, "leads to no server", "set-cluster c1"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(
    tmp_path: Path, config: object, context: str | None, cause: str, remedy: str
) -> None:
    source = written(tmp_path / "config", config)
    with pytest.raises(HarnessError) as caught:
        private_copy(source, tmp_path / "run", context=context)
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy
    assert not (tmp_path / "run").exists()


def test_a_missing_or_unreadable_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="There is no kubeconfig"):
        server_of(tmp_path / "none")
    with pytest.raises(HarnessError, match=r"cannot be read \(Is a directory\)"):
        server_of(tmp_path)


@pytest.mark.parametrize("text", ["a: [s3cret-value\nb: }", "a: *s3cret-value", b"\xff\xfes3cret\x00", "[" * 5000])
def test_an_error_names_the_line_and_shows_nothing_of_the_file(tmp_path: Path, text: str | bytes) -> None:
    source = tmp_path / "config"
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(HarnessError, match="is not YAML") as caught:
        server_of(source)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_context_is_shown_without_its_credentials(tmp_path: Path) -> None:
    config = copy.deepcopy(TWO)
    config["users"][0]["user"] = {"token": "s3cret"}
    assert "s3cret" not in repr(chosen(written(tmp_path / "config", config)))


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(name=names, token=st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_is_not_a_path_is_copied_as_it_is(tmp_path_factory: pytest.TempPathFactory, name: str, token: str) -> None:
    folder = tmp_path_factory.mktemp("copy")
    config = {
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": "https://x"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": {"token": token}}],
        "preferences": {},
    }
    source = folder / "config"
    source.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert contents(private_copy(source, folder / "run")) == config
