"""Credentials: each step of the chain, in its order, and what a person is told when none has any."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiserver import Certificates
from openapi.account import managed_account
from openapi.server import FakeOpenApi, TrustedTokens, serving

from fixtures.ack.access import credential
from fixtures.ack.openapi import OpenApi
from fixtures.ack.sdk import Sender
from fixtures.errors import HarnessError
from fixtures.record import Record

pytest_plugins = ["openapi.fixtures"]
pytestmark = pytest.mark.usefixtures("alone")

ENVIRONMENT = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAIenv", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "env-secret"}


def _cli_profile(home: Path, **entry: str) -> None:
    (home / ".aliyun").mkdir(exist_ok=True)
    profile = {"name": "default", "mode": "AK", "access_key_id": "LTAIcli", "access_key_secret": "cli-secret", **entry}
    (home / ".aliyun/config.json").write_text(json.dumps({"current": "default", "profiles": [profile]}))


def _credentials_file(home: Path, kind: str = "access_key") -> None:
    (home / ".alibabacloud").mkdir(exist_ok=True)
    words = f"[default]\ntype = {kind}\naccess_key_id = LTAIfile\naccess_key_secret = file-secret\n"
    (home / ".alibabacloud/credentials.ini").write_text(words)


def test_the_steps_have_an_order(tmp_path: Path) -> None:
    _credentials_file(tmp_path)
    found = credential({}, tmp_path)
    assert (found.step, found.client.get_credential().access_key_id) == ("file", "LTAIfile")
    _cli_profile(tmp_path)
    found = credential({}, tmp_path)
    assert (found.step, found.client.get_credential().access_key_id) == ("cli profile", "LTAIcli")
    found = credential(ENVIRONMENT, tmp_path)
    assert (found.step, found.client.get_credential().access_key_id) == ("environment", "LTAIenv")
    assert "LTAI" not in repr(found)
    assert "secret" not in repr(found)


def test_a_temporary_key_comes_with_its_token(tmp_path: Path) -> None:
    found = credential({**ENVIRONMENT, "ALIBABA_CLOUD_SECURITY_TOKEN": "token-1"}, tmp_path)
    assert found.client.get_credential().security_token == "token-1"


def test_the_profile_s_name_and_the_switch_are_the_environment_s(tmp_path: Path) -> None:
    _cli_profile(tmp_path)
    _credentials_file(tmp_path)
    assert credential({"ALIBABA_CLOUD_CLI_PROFILE_DISABLED": "true"}, tmp_path).step == "file"
    with pytest.raises(HarnessError, match="unable to get profile with 'other'"):
        credential({"ALIBABA_CLOUD_PROFILE": "other"}, tmp_path)


def test_without_any_each_step_says_what_it_lacks(tmp_path: Path, alone: list[str]) -> None:
    with pytest.raises(HarnessError) as caught:
        credential({"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAIonly"}, tmp_path)
    lines = caught.value.cause.splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        *("environment", "oidc", "cli profile", "file", "instance metadata", "uri")
    ]
    assert lines[0].endswith("ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set")
    assert "ALIBABA_CLOUD_ROLE_ARN and ALIBABA_CLOUD_OIDC_PROVIDER_ARN" in lines[1]
    assert str(tmp_path / ".aliyun/config.json") in lines[2]
    assert "--allow-metadata" in lines[4]
    assert alone == []


def test_an_oidc_token_that_is_not_there_is_named(tmp_path: Path) -> None:
    environ = {
        "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/r",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/p",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(tmp_path / "token"),
    }
    with pytest.raises(HarnessError, match=f"oidc: there is no {tmp_path / 'token'}"):
        credential(environ, tmp_path)


ROLE = TrustedTokens(
    "acs:ram::1:role/npu-conformance", "acs:ram::1:oidc-provider/p", "system:serviceaccount:npu-conformance:nightly"
)


@pytest.fixture
def bearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeOpenApi, dict[str, str]]]:
    """A fake over TLS that ROLE is of, and the environment of whoever has a token for it in the file `token`."""
    certificates = Certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", certificates.file("ca.crt"))
    with serving(managed_account(), tls=certificates.server_side()) as fake:
        fake.trusted = ROLE
        yield (
            fake,
            {
                "ALIBABA_CLOUD_ROLE_ARN": ROLE.role,
                "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": ROLE.provider,
                "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(tmp_path / "token"),
                "ALIBABA_CLOUD_STS_ENDPOINT": fake.address,
            },
        )


def _token(file: Path, **claims: object) -> None:
    parts = {"alg": "RS256"}, {"aud": [ROLE.audience], "sub": ROLE.subject, **claims}
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    file.write_text(".".join([*encoded, "c2lnbmF0dXJl"]))


def test_a_token_is_exchanged_for_a_key_that_the_cloud_lets_in(
    bearer: tuple[FakeOpenApi, dict[str, str]], tmp_path: Path
) -> None:
    fake, environ = bearer
    _token(tmp_path / "token")
    found = credential(environ, tmp_path)
    key = found.client.get_credential()
    assert (found.step, key.access_key_id[:4]) == ("oidc", "STS.")
    assert key.security_token not in repr(found)
    sender = Sender("cn-shanghai", found.client, {"": fake.address}, "https")
    assert OpenApi("cn-shanghai", sender, Record()).call("GetCallerIdentity")
    assert [(one.action, one.status) for one in fake.asked] == [("AssumeRoleWithOIDC", 200), ("GetCallerIdentity", 200)]


@pytest.mark.parametrize(
    ("claims", "code"),
    [({"sub": "system:serviceaccount:default:default"}, "NoPermission"), ({"aud": ["another"]}, "AudienceNotMatch")],
)
def test_a_token_that_the_role_does_not_trust_is_refused_with_sts_s_word(
    bearer: tuple[FakeOpenApi, dict[str, str]], tmp_path: Path, claims: dict[str, object], code: str
) -> None:
    _token(tmp_path / "token", **claims)
    with pytest.raises(HarnessError, match=f"oidc: error refreshing credentials.*{code}") as caught:
        credential(bearer[1], tmp_path)
    assert (tmp_path / "token").read_text() not in caught.value.cause


def test_an_sts_that_is_not_there_is_named_without_the_token(
    bearer: tuple[FakeOpenApi, dict[str, str]], tmp_path: Path
) -> None:
    _token(tmp_path / "token")
    with pytest.raises(HarnessError, match=r"oidc: .*127\.0\.0\.1") as caught:
        credential({**bearer[1], "ALIBABA_CLOUD_STS_ENDPOINT": "127.0.0.1:1"}, tmp_path)
    assert (tmp_path / "token").read_text()[:40] not in caught.value.cause


@pytest.mark.parametrize("place", ["cli profile", "file"])
def test_a_profile_cannot_bring_the_metadata_address_in_by_the_back_door(
    tmp_path: Path, place: str, alone: list[str]
) -> None:
    if place == "file":
        _credentials_file(tmp_path, "ecs_ram_role")
    else:
        _cli_profile(tmp_path, mode="EcsRamRole", ram_role_name="r")
    with pytest.raises(HarnessError, match=f"{place}: IMDS credentials is disabled"):
        credential({}, tmp_path)
    assert alone == []


def test_the_metadata_address_is_asked_only_when_that_is_allowed(tmp_path: Path, alone: list[str]) -> None:
    with pytest.raises(HarnessError, match=r"instance metadata: .*not of this machine"):
        credential({}, tmp_path, allow_metadata=True)
    assert set(alone) == {"100.100.100.200"}
    alone.clear()  # it was to be tried, and the guard held


def test_without_the_sdk_everything_else_can_be_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('alibabacloud_credentials', 'alibabacloud_tea_openapi', 'Tea', 'darabonba'):\n"
        "    sys.modules[name] = None\n"
        "import fixtures.plugin, fixtures.cli, fixtures.clusterfixtures, fixtures.targets.ack, fixtures.ack.openapi\n"
        "from pathlib import Path\n"
        "from fixtures.ack.access import credential\n"
        "from fixtures.errors import HarnessError\n"
        "try:\n    credential({}, Path('/nonexistent'))\n"
        "except HarnessError as error:\n    print(error.remedy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install '.[ack]'" in done.stdout
