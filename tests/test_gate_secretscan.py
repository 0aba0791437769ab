"""What looks like a credential is found in a file, and taken out by `redact`; what does not, is neither."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fixtures.redact import redact
from gate.secretscan import Scanner, holds_secret

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7bq3x\nabc\n-----END RSA PRIVATE KEY-----\n"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IkEifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl"
WORD = "Xk29vBnQ8sLpTzRwYcMdEaFgHiJkLm"
STS = "CAIS7QF1q6Ft5B2yfSjIr5bDJ8n1nZ5p3fWvY2z0kFkmTuZYqYXKgTz2IHFEfXZuBeEfs/gwnG1X7fYelq8"
DOCKER = {"auths": {"registry": {"auth": "dTpwYXNz"}}}
KUBECONFIG = "apiVersion: v1\nkind: Config\nusers:\n- user:\n    token: abcdefghijkl\n"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def folded(text: str) -> str:
    return base64.encodebytes(text.encode()).decode()


CREDENTIALS = {
    "a TLS Secret": (f"data:\n  tls.crt: LS0tLS1CRUdJTiBDRVJU\n  tls.key: {encoded(KEY)}\n", encoded(KEY)),
    "the same as JSON": (json.dumps({"tls.key": encoded(KEY)}), encoded(KEY)),
    "an SSH key": (f"  ssh-privatekey: {encoded(KEY.replace('RSA', 'OPENSSH'))}\n", "LS0t"),
    "a key in base64 of many lines": (f"key:\n{folded(KEY * 3)}", folded(KEY * 3).splitlines()[2]),
    "a key's line within JSON": (json.dumps(f"is\n{encoded(KEY)}"), encoded(KEY)),
    "an AccessKey pair in base64": (f"  access-key-secret: {encoded(WORD)}\n", encoded(WORD)),
    "the same, as others name it": (f"  accessKeyID: x\n  accessKeySecret: {encoded(WORD)}\n", encoded(WORD)),
    "a bootstrap token": ("  token-id: MDEyMzQ1\n  token-secret: MDEyMzQ1Njc4OWFiY2RlZg==\n", "MDEyMzQ1Njc4"),
    "docker's own file": (f"  config.json: {encoded(json.dumps(DOCKER, indent=chr(9)))}\n", "ewoJ"),
    "with blanks": (f"  config.json: {encoded(json.dumps(DOCKER, indent=4))}\n", "ewog"),
    "in one line": (f"  .dockerconfigjson: {encoded(json.dumps(DOCKER))}\n", "eyJ"),
    "its older file": (f"  .dockercfg: {encoded(json.dumps(DOCKER['auths']))}\n", "eyJ"),
    "a kubeconfig in base64": (f"  config: {encoded(KUBECONFIG)}\n", "YXBp"),
    "after an empty line": (f"  config: {encoded(chr(10) + KUBECONFIG)}\n", "CmFw"),
    "of another order": (f"  kubeconfig: {encoded('users:' + KUBECONFIG.partition('users:')[2])}\n", "dXNlcnM6"),
    "a service account's token": (f"  jwt: {encoded(JWT)}\n", encoded(JWT)),
    "the same in the middle of a word": (f"tok_{JWT}", JWT),
    "in a URL": (f"x%3D{JWT}", JWT),
    "after an escape": (json.dumps(f"it is\n{JWT}"), JWT),
    "an OpenPGP key": ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 2 (x)\n\nlQVYBF\n=4f\n", "lQVYBF"),
    "YAML": (f"accessKeySecret: {WORD}\nsecurityToken: {STS}\n", WORD),
    "its second line": (f"accessKeySecret: {WORD}\nsecurityToken: {STS}\n", STS),
    "kubectl describe": (f"    Environment:\n      ALIBABA_CLOUD_ACCESS_KEY_SECRET:  {WORD}\n", WORD),
    "INI": (f"[default]\ntype = access_key\naccess_key_secret = {WORD}\n", WORD),
    "a container's variable": (f"    - name: ACCESS_KEY_SECRET\n      value: {WORD}\n", WORD),
    "the other way round": (f"    - value: {WORD}\n      name: ACCESS_KEY_SECRET\n", WORD),
    "a variable in JSON": (json.dumps({"name": "ACCESS_KEY_SECRET", "value": WORD}), WORD),
    "of many lines": (json.dumps({"name": "OSS_SECRET", "value": WORD}, indent=2), WORD),
    "in JSON the other way round": (json.dumps({"value": WORD, "name": "ACCESS_KEY_SECRET"}), WORD),
    "of many lines the other way round": (json.dumps({"value": WORD, "name": "DB_PASSWORD"}, indent=2), WORD),
    "JSON in JSON": (json.dumps(json.dumps({"name": "X_TOKEN", "value": WORD})), WORD),
    "a header of Alibaba Cloud": (f"x-acs-security-token: {STS}\n", STS),
    "a header as Go prints it": (f"map[Accept:[x] X-Acs-Security-Token:[{STS}]]", STS),
    "another as Go prints it": ("map[Authorization:[Basic dXNl]]", "dXNl"),
    "headers in JSON": ('{"Authorization":["Basic dTpw"],"Accept":"a"}', "dTpw"),
    "a Digest header": ('Authorization: Digest username="u", realm="r", response="6629fae"\n', "6629fae"),
    "the same in JSON": (json.dumps({"Authorization": 'Digest username="u", response="6629fae"'}), "6629fae"),
    "a token of STS": (f"sts_token: {STS}\n", STS),
    "a short name": ("passwd: hunter22\n", "hunter22"),
    "a name in snake case": ("registry_password: hunter22\n", "hunter22"),
    "a name in camel case": ('dockerPassword: "hunter 22" # mine\n', "hunter"),
    "a number as a password": ("password: 12345678\n", "12345678"),
    "a block": ("    token: |\n      abcdefghijklmnopq\n", "abcdefghij"),
    "in a pod's log": ("2026-11-27T10:00:00.123456789Z registry_password: hunter22\n", "hunter22"),
    "a line within JSON": (json.dumps({"log": "start\nregistry_password: hunter22\nend"}), "hunter22"),
    "a password with the other quote": (json.dumps({"password": "ab'hunter22"}), "hunter22"),
    "a password with the same quote": (json.dumps({"password": 'ab"hunter22'}), "hunter22"),
    "arguments in JSON": (json.dumps(["login", "--password", "hunter22"]), "hunter22"),
    "a struct of Go": (f"{{Username:u Password:hunter22 AccessKeySecret:{WORD}}}", "hunter22"),
    "a kubeconfig's key": (f"    client-key-data: {encoded(KEY)}\n", encoded(KEY)),
}


@pytest.mark.parametrize("what", CREDENTIALS)
def test_a_credential_is_found_and_taken_out(what: str) -> None:
    text, secret = CREDENTIALS[what]
    assert secret in text
    assert holds_secret(text.encode())
    clean = redact(text)
    assert secret not in clean
    assert redact(clean) == clean
    assert not holds_secret(clean.encode())
    assert not holds_secret(json.dumps(clean).encode())


@pytest.mark.parametrize(
    "text",
    [
        json.dumps("authorization: █████\npassword=▓▓▓▓▓"),
        json.dumps(json.dumps("authorization: █████")),
        "may require authorization: server message: insufficient_scope: authorization failed",
        "may require authorization: authorization failed: no basic auth credentials",
        '{"authorization":{"mode":"Webhook"}}',
        "authorization:\n  mode: Webhook\n",
        "automountServiceAccountToken: false\n",
        "secretName: regsecret\n",
        '"pull_secret": "npu/regsecret"',
        "pytest --pull-secret npu/regsecret --pull-secret=npu/regsecret --acr-password-file=/run/x",
        json.dumps(["pytest", "--pull-secret", "npu/regsecret"]),
        "imagePullSecrets:\n- name: regsecret\n",
        "Image pull secrets:  regsecret\nMountable secrets:   <none>\nTokens:              <none>\n",
        "token:      900 bytes\npassword:  12 bytes\n",
        "  DB_PASSWORD:  <set to the key 'password' in secret 'db'>  Optional: false\n",
        "  volumes:\n  - secret:\n      secretName: x\n  - projected:\n      sources:\n      - serviceAccountToken:\n"
        "          path: token\n",
        "    - name: DB_PASSWORD\n      valueFrom:\n        secretKeyRef:\n          key: password\n",
        '{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}}',
        "tokens_per_second=18432 max_tokens=512 tokens/s=3 tokenizer=bert-base\n",
        '{"name": "tokens_per_second", "value": "18432"}',
        "token: 5\npad_token: [PAD]\n",
        '{"eos_token": "</s>", "bos_token": "<s>"}',
        'FailedMount MountVolume.SetUp failed: secret "regsecret" not found; imagePullSecret="npu/regsecret"',
        "MountVolume for secret regsecret, token ok",
        'I1127 10:00:00.000000 1 certs.go:1] "Rotating certificates" secret="kube-system/x"',
        'MountVolume.SetUp failed for volume "x" : failed to fetch token: serviceaccounts "x" not found',
        'WWW-Authenticate: Bearer realm="https://auth.docker.io/token",service="registry.docker.io"',
        "the bearer authentication-scheme was refused",
        "oci://registry.example.com@sha256:" + "a" * 64,
        "ssh://git@github.com/org/repo.git",
        '"pull-wrong-password": "failed"',
        "pull-wrong-password: error: The pod that must get the image did not.",
        json.dumps(["pull-wrong-password: error: The pod that must get the image did not."]),
        "--token-ttl=24h0m0s --token-auth-file= --authorization-mode=Node,RBAC --enable-bootstrap-token-auth=true",
        f"  ca.crt: {base64.b64encode(b'-----BEGIN CERTIFICATE-----' + bytes(range(48))).decode()}\n",
        f"certificate-authority-data: {encoded('-----BEGIN CERTIFICATE-----MIIB-----END CERTIFICATE-----')}\n",
    ],
)
def test_what_is_no_credential_is_no_alarm(text: str) -> None:
    assert not holds_secret(text.encode())


@pytest.mark.parametrize("file", sorted((Path(__file__).parent / "causes").rglob("*.json")), ids=lambda file: file.name)
def test_what_real_clusters_said_is_no_alarm(file: Path) -> None:
    assert not holds_secret(file.read_bytes())


PIECES = st.sampled_from(
    [
        *("authorization", "Authorization", "token", "password", "x_secret", "ACCESS_KEY_SECRET", "name", "value"),
        *(": ", ":", "=", " = ", '"', "'", '\\"', "\\n", "\n", "  ", ",", "[", "{", "}", "]", "@", "://", "--", "|"),
        *("Basic", "Digest ", "hunter22", "█████", "true", "12", JWT, encoded(KEY), KEY, "LTAI5tExample00000000", "/"),
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
@example('{"authorization":{"mode":"Webhook"}}')
@example('{"Authorization":"Basic dTpw","Accept":"a"}')
@example('Authorization: Digest username="u", realm="r"')
def test_what_was_taken_out_is_not_taken_out_again(text: str) -> None:
    clean = redact(text)
    assert redact(clean) == clean
    assert not holds_secret(clean.encode())


def test_a_credential_in_base64_is_found_across_two_pieces() -> None:
    data = f"{'x' * 500}\n  tls.key: {encoded(KEY)}\n".encode()
    for cut in range(490, len(data), 7):
        scanner = Scanner()
        scanner.feed(data[:cut])
        scanner.feed(data[cut:])
        assert scanner.found


@pytest.mark.parametrize(
    "piece",
    [
        *("-eyJ", "eyJhbGci.", 'authorization: "', "authorization:\t", "=x'", "token_", "_password", '"token":\\"'),
        *(
            '"value":"',
            "value: x\n",
            "- name: A_TOKEN\n",
            "A" * 24 + " ",
            encoded("x: y" * 9) + "\n",
            "--secret-",
            "://@",
        ),
        *('"name":"X_TOKEN",', "Password:", "\\n-", "-" * 200 + "token\n", "bearer a", encoded(KEY)[:60] + "\n"),
    ],
)
def test_a_long_file_takes_time_that_grows_with_its_length_alone(piece: str) -> None:
    text = f"token password secret access authorization {piece * (200_000 // len(piece))}"
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 5
