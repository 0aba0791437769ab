"""The signed statement and the bundle: what was changed, swapped, added or left out is refused, with the reason."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from gateworld import NOW, POLICY, catalogue, catalogue_of, judged, keep, of, write
from gateworld import results as whole_results
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.cli import main
from fixtures.errors import HarnessError
from fixtures.resultsfolder import MARK
from gate import archive
from gate.bundle import write_bundle
from gate.decision import Decision
from gate.envelope import P256_ORDER, PASSPHRASE, RefusedError, opened, public_key, sealed, signer_of
from gate.outputs import write_outputs
from gate.statement import STATEMENT, statement_in
from gate.verify import Asked, verified_bundle, verified_statement

IMAGE = "sha256:" + "1" * 64
WITHOUT_NUMBERS = POLICY.partition("[accuracy]")[0].replace("format = 1", 'format = 1\ncoverage = "none"')
Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def results(run: str = "aaaa0001") -> dict[str, Any]:
    """Of a run without pods and numbers: there is nothing to draw, and tests are quick."""
    content = whole_results(run)
    content["pods"] = []
    return content


def decided(folder: Path, *contents: dict[str, Any], **more: Any) -> Decision:
    return judged(folder, *contents, text=WITHOUT_NUMBERS, **more)


def write_keys(folder: Path, name: str, private: Private, passphrase: str = "") -> tuple[Path, Path]:
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    secret.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    secret.chmod(0o600)
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return secret, public


@dataclass(frozen=True)
class Signed:
    """A decision that was written and signed, and what it takes to verify it."""

    folder: Path
    secret: Path
    public: Path
    decision: Decision

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def runs(self) -> list[Path]:
        return [results.folder for results in self.decision.results]

    def asked(self, **changed: Any) -> Asked:
        policy = self.decision.policy.sha256
        return Asked(**{"key": public_key(self.public), "image": IMAGE, "policy": policy, **changed})

    def content(self) -> Any:
        return opened((self.output / STATEMENT).read_bytes(), public_key(self.public), Path(STATEMENT))

    def bundle(self, name: str = "bundle.tar") -> Path:
        write_bundle(self.folder / name, self.output, self.runs, public_key(self.public))
        return self.folder / name

    def argv(self, file: Path, *more: str) -> list[str]:
        policy = self.decision.policy.path
        return ["verify", str(file), "--key", str(self.public), "--image", IMAGE, "--policy", policy, *more]


def signed_in(folder: Path, private: Private, *contents: dict[str, Any]) -> Signed:
    secret, public = write_keys(folder, "release", private)
    runs = contents or (results(),)
    for number, content in enumerate(runs):
        (folder / f"run-{number}").mkdir()
        keep(content, folder / f"run-{number}", "pod.yaml", b"kind: Pod\n")
    decision = decided(folder, *runs, baseline=[results("bbbb0001")])
    write_outputs(decision, folder / "out", secret)
    return Signed(folder, secret, public, decision)


@pytest.fixture(params=["ed25519", "p-256"])
def signed(request: pytest.FixtureRequest, tmp_path: Path) -> Signed:
    ed = request.param == "ed25519"
    return signed_in(tmp_path, ed25519.Ed25519PrivateKey.generate() if ed else ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """One for tests that only read."""
    return signed_in(tmp_path_factory.mktemp("signed"), ed25519.Ed25519PrivateKey.generate())


def test_a_statement_names_image_configuration_checks_and_files(signed: Signed) -> None:
    content = signed.content()
    assert content["_type"] == "https://in-toto.io/Statement/v1"
    assert content["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert content["subject"] == [{"name": IMAGE, "digest": {"sha256": "1" * 64}}]
    predicate = content["predicate"]
    assert predicate["result"] == "WARNED"  # one check does not apply to this target
    assert {one["name"]: one["digest"]["sha256"] for one in predicate["configuration"]} == {
        "policy.toml": signed.decision.policy.sha256,
        "catalogue.json": signed.decision.catalogue.sha256,
    }
    assert set(predicate["passedTests"]) == {
        "flow-completed", "flow-accuracy", "flow-throughput", "alloc-exclusive", "pull-anonymous",
    }  # fmt: skip
    assert predicate["warnedTests"] == ["cloud-route-per-node"]
    assert predicate["failedTests"] == []
    own = predicate["npuConformance"]
    assert (own["verdict"], own["exitCode"], own["outsideTests"]) == ("pass", 0, ["lw-error-later"])
    assert {one["name"] for one in own["files"]} == {
        "junit.xml", "e2e.log", "results.json", "report.html", "summary.md", "policy.toml", "catalogue.json",
        "runs/aaaa0001/results.json", "runs/aaaa0001/evidence/flow-completed/pod.yaml",
        "baseline/bbbb0001/results.json",
    }  # fmt: skip


def test_statement_and_bundle_hold_as_they_were_signed(signed: Signed, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(signed.argv(signed.output / STATEMENT, "--results", *map(str, signed.runs))) == 0
    assert main(signed.argv(signed.bundle())) == 0
    told = capsys.readouterr().out
    assert told.count("VERIFIED: pass\n") == 2
    assert IMAGE in told


def test_a_verdict_that_is_no_pass_is_signed_and_never_verifies_as_one(tmp_path: Path) -> None:
    failing = results()
    of(failing, "alloc-exclusive").update(outcome="failed", reason="Two pods share a device.")
    one = signed_in(tmp_path, ed25519.Ed25519PrivateKey.generate(), failing)
    assert one.content()["predicate"]["result"] == "FAILED"
    assert main(one.argv(one.bundle())) == 1
    inconclusive = results()
    of(inconclusive, "alloc-exclusive").update(outcome="error", reason="The API server did not answer.")
    other = tmp_path / "other"
    other.mkdir()
    two = signed_in(other, ed25519.Ed25519PrivateKey.generate(), inconclusive)
    assert two.content()["predicate"]["result"] == "FAILED"
    assert "alloc-exclusive" in two.content()["predicate"]["failedTests"]
    assert main(two.argv(two.output / STATEMENT)) == 2


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "another image": ({"image": "sha256:" + "9" * 64}, "is about sha256:1{64}, and not about sha256:9{64}"),
    "a tag": ({"image": "node:v1.37"}, "is no digest"),
    "another policy": ({"policy": "8" * 64}, "made by another policy"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_statement_about_something_else_is_refused(kept: Signed, what: str) -> None:
    changed, reason = REFUSALS[what]
    with pytest.raises(RefusedError, match=reason):
        verified_statement(kept.output / STATEMENT, kept.asked(**changed))


def test_another_key_is_refused(kept: Signed, tmp_path: Path) -> None:
    _, public = write_keys(tmp_path, "other", ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(RefusedError, match="was not signed by the key"):
        verified_statement(kept.output / STATEMENT, kept.asked(key=public_key(public)))


def test_another_catalogue_is_refused(kept: Signed, tmp_path: Path) -> None:
    file = tmp_path / "catalogue.json"
    file.write_text(json.dumps(catalogue_of(catalogue()[:-1])))
    with pytest.raises(RefusedError, match="another catalogue"):
        verified_statement(kept.output / STATEMENT, kept.asked(catalogue=file))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_byte_of_an_envelope_can_be_changed(kept: Signed, data: st.DataObject) -> None:
    raw = bytearray((kept.output / STATEMENT).read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255).filter(lambda value: value != raw[place]))
    with pytest.raises(HarnessError):
        statement_in(opened(bytes(raw), public_key(kept.public), Path(STATEMENT)))


def predicate(**changed: Any) -> Callable[[Any], None]:
    return lambda content: content["predicate"].update(changed)


def own(**changed: Any) -> Callable[[Any], None]:
    return lambda content: content["predicate"]["npuConformance"].update(changed)


def drop_check(content: Any) -> None:
    content["predicate"]["passedTests"].remove("alloc-exclusive")


def hide_check(content: Any) -> None:
    drop_check(content)
    content["predicate"]["npuConformance"]["outsideTests"].append("alloc-exclusive")


NONSENSE: dict[str, tuple[Callable[[Any], object], str]] = {
    "a check is missing": (drop_check, "says nothing of the check alloc-exclusive"),
    "a check is said to be outside": (hide_check, "says nothing of the check alloc-exclusive"),
    "passed and failed": (predicate(failedTests=["x"]), "says that it passed, and that checks failed"),
    "passed with nothing": (predicate(passedTests=[]), "that no check did"),
    "twice": (predicate(failedTests=["alloc-exclusive"]), "names a check twice"),
    "result against verdict": (own(verdict="inconclusive"), "contradicts itself"),
    "result against exit code": (own(exitCode=2), "contradicts itself"),
    "no verdict": (own(verdict="good"), "is not one of the gate's"),
    "no image": (lambda content: content.update(subject=[]), "names no node image"),
    "two images": (
        lambda content: content["subject"].append({"name": "b", "digest": {"sha256": "2" * 64}}),
        "is about 2 node images, .*, and not about that one alone",
    ),
    "no digest": (lambda content: content.update(subject=[{"name": "a", "digest": {}}]), "is not one of the gate's"),
    "another type": (lambda content: content.update(_type="x"), "is not one of the gate's"),
    "another predicate": (lambda content: content.update(predicateType="x"), "is not one of the gate's"),
    "a later format": (own(format=2), "this version reads 1"),
    "no configuration": (predicate(configuration=[]), "is not one of the gate's"),
    "a profile that is none": (own(profile="<b>"), "names no profile"),
}  # fmt: skip


@pytest.mark.parametrize("what", NONSENSE)
def test_a_signed_statement_without_sense_is_refused(kept: Signed, tmp_path: Path, what: str) -> None:
    change, reason = NONSENSE[what]
    content = kept.content()
    change(content)
    (tmp_path / STATEMENT).write_bytes(sealed(content, signer_of(kept.secret)))
    with pytest.raises(RefusedError, match=reason):
        verified_statement(tmp_path / STATEMENT, kept.asked(catalogue=kept.output / "catalogue.json"))


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none(), max_size=2)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), junk=JUNK)
def test_a_signed_statement_with_junk_in_it_is_never_a_traceback(kept: Signed, data: st.DataObject, junk: Any) -> None:
    content = kept.content()
    place, key = content, "predicate"
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 5)):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = junk
    with suppress(RefusedError):
        read = statement_in(content)
        assert (read.verdict, read.exit_code, read.failed) == ("pass", 0, ())


NO_ENVELOPES = {
    "empty": b"",
    "no JSON": b"hello",
    "another shape": b"[]",
    "no signature": json.dumps({"payload": "", "payloadType": "x", "signatures": []}).encode(),
    "two signatures": json.dumps({"payload": "", "payloadType": "x", "signatures": [{}, {}]}).encode(),
    "no base64": json.dumps({"payload": "%", "payloadType": "x", "signatures": [{"keyid": "", "sig": ""}]}).encode(),
    "another payload": json.dumps(
        {"payload": base64.b64encode(b"x").decode(), "payloadType": "x", "signatures": [{"keyid": "a", "sig": "QQ=="}]}
    ).encode(),
}


@pytest.mark.parametrize("what", NO_ENVELOPES)
def test_what_is_no_envelope_is_refused(kept: Signed, what: str) -> None:
    with pytest.raises(RefusedError):
        opened(NO_ENVELOPES[what], public_key(kept.public), Path("x"))


def test_the_other_signature_that_says_the_same_is_refused(tmp_path: Path) -> None:
    one = signed_in(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    for _ in range(8):  # which of the two a signer makes is chance
        raw = sealed(one.content(), signer_of(one.secret))
        opened(raw, public_key(one.public), Path(STATEMENT))
        envelope = json.loads(raw)
        r, s = decode_dss_signature(base64.b64decode(envelope["signatures"][0]["sig"]))
        assert s <= P256_ORDER // 2
        envelope["signatures"][0]["sig"] = base64.b64encode(encode_dss_signature(r, P256_ORDER - s)).decode()
        other = (json.dumps(envelope, indent=1, sort_keys=True) + "\n").encode()
        with pytest.raises(RefusedError, match="is signed, and is not as it was written"):
            opened(other, public_key(one.public), Path(STATEMENT))


def test_a_check_that_was_lost_with_its_catalogue_is_missed_by_the_release_s_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = results()
    content["checks"] = [one for one in content["checks"] if one["id"] != "alloc-exclusive"]
    entries = [one for one in catalogue() if one["id"] != "alloc-exclusive"]
    secret, public = write_keys(tmp_path, "release", ed25519.Ed25519PrivateKey.generate())
    decision = decided(tmp_path, content, entries=entries)
    write_outputs(decision, tmp_path / "out", secret)
    one = Signed(tmp_path, secret, public, decision)
    assert main(one.argv(one.bundle())) == 0
    assert "from the bundle itself: give --catalogue to require the checks of a release" in capsys.readouterr().out
    assert main(one.argv(one.output / STATEMENT)) == 0
    assert "the one beside the statement: give --catalogue" in capsys.readouterr().out
    whole = tmp_path / "whole.json"
    whole.write_text(json.dumps(catalogue_of(catalogue())))
    assert main(one.argv(one.bundle(), "--catalogue", str(whole))) == 1
    assert "REFUSED: The statement was made with another catalogue" in capsys.readouterr().err
    assert main(one.argv(one.bundle(), "--catalogue", str(one.output / "catalogue.json"))) == 0
    assert f"that of {one.output / 'catalogue.json'}" in capsys.readouterr().out


def test_the_catalogue_that_the_policy_names_is_required(
    kept: Signed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = kept.decision.catalogue.sha256
    verified_statement(kept.output / STATEMENT, kept.asked(pinned=own))
    with pytest.raises(RefusedError, match="The policy names the catalogue sha256:888888888888…"):
        verified_statement(kept.output / STATEMENT, kept.asked(pinned="8" * 64))
    secret, public = write_keys(tmp_path, "release", ed25519.Ed25519PrivateKey.generate())
    text = f'{WITHOUT_NUMBERS}\n[candidate]\ncatalogue = "sha256:{own}"\n'
    decision = judged(tmp_path, results(), text=text)
    write_outputs(decision, tmp_path / "out", secret)
    one = Signed(tmp_path, secret, public, decision)
    assert main(one.argv(one.bundle())) == 0
    assert f"catalogue  sha256:{own}, the one that the policy names\n" in capsys.readouterr().out


def test_what_is_damaged_is_refused_whatever_it_is_called(signed: Signed, capsys: pytest.CaptureFixture[str]) -> None:
    raw, bundle = (signed.output / STATEMENT).read_bytes(), signed.bundle()
    (signed.folder / "catalogue.json").write_bytes((signed.output / "catalogue.json").read_bytes())
    for place in range(0, len(raw), 41):
        damaged = bytearray(raw)
        damaged[place] ^= 0x20
        (signed.folder / "damaged.json").write_bytes(damaged)
        assert main(signed.argv(signed.folder / "damaged.json")) == 1, place
        assert "Run the checks again" not in capsys.readouterr().err
    for place in range(512, 700):
        damaged = bytearray(bundle.read_bytes())
        damaged[place] ^= 1
        (signed.folder / "damaged.tar").write_bytes(damaged)
        assert main(signed.argv(signed.folder / "damaged.tar")) == 1, place
    (signed.folder / "bundle.json").write_bytes(bundle.read_bytes())
    assert main(signed.argv(signed.folder / "bundle.json")) == 0
    (signed.folder / "statement").write_bytes(raw)
    assert main(signed.argv(signed.folder / "statement")) == 0


def test_a_bundle_takes_no_results(kept: Signed, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = kept.bundle("alone.tar")
    assert main(kept.argv(bundle, "--results", *map(str, kept.runs))) == 5
    assert capsys.readouterr().err.endswith("is a bundle, which holds the results.\nLeave out --results.\n")


def test_evidence_and_results_cannot_be_swapped(signed: Signed) -> None:
    statement, runs = signed.output / STATEMENT, signed.runs
    evidence = runs[0] / "evidence/flow-completed/pod.yaml"
    evidence.write_bytes(b"kind: Job\n")
    with pytest.raises(RefusedError, match=r"pod\.yaml was changed after it was signed"):
        verified_statement(statement, signed.asked(), runs)
    with pytest.raises(RefusedError, match=r"pod\.yaml was changed after it was signed"):
        signed.bundle()
    assert not list(signed.folder.glob("*bundle*"))
    evidence.unlink()
    with pytest.raises(RefusedError, match="is not there"):
        verified_statement(statement, signed.asked(), runs)
    file = runs[0] / "results.json"
    file.write_text(file.read_text().replace("aaaa0001", "aaaa0009"))
    with pytest.raises(RefusedError, match="does not hold results that were signed"):
        verified_statement(statement, signed.asked(), runs)
    with pytest.raises(HarnessError, match="are not given, or were changed"):
        signed.bundle()


def test_what_lies_beside_a_statement_and_what_was_added_to_its_evidence_is_looked_at(
    signed: Signed, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = signed.argv(signed.output / STATEMENT, "--results", *map(str, signed.runs))
    (signed.runs[0] / "evidence" / MARK).touch()  # as every run does
    assert main(argv) == 0
    assert (
        f"compared   {len(signed.content()['predicate']['npuConformance']['files'])} files" in capsys.readouterr().out
    )
    beside = ["report.html", "junit.xml", "policy.toml", "e2e.log", "results.json", "baseline/bbbb0001/results.json"]
    for name in beside:
        file = signed.output / name
        raw = file.read_bytes()
        file.write_bytes(raw + b" ")
        assert main(argv) == 1
        assert f"{name} was changed after it was signed" in capsys.readouterr().err
        file.unlink()
        assert main(argv) == 1
        assert f"{name} was signed, and is not there" in capsys.readouterr().err
        file.write_bytes(raw)
    planted = signed.runs[0] / "evidence/flow-completed/planted.log"
    planted.write_text("x")
    assert main(argv) == 1
    assert "planted.log is not in the statement: it was added afterwards" in capsys.readouterr().err


def test_evidence_behind_a_link_is_not_there(signed: Signed) -> None:
    folder = signed.runs[0] / "evidence"
    folder.rename(signed.folder / "elsewhere")
    folder.symlink_to(signed.folder / "elsewhere")
    with pytest.raises(RefusedError, match="is not there"):
        verified_statement(signed.output / STATEMENT, signed.asked(), signed.runs)


def test_a_run_that_was_signed_must_be_given(tmp_path: Path) -> None:
    one = signed_in(tmp_path, ed25519.Ed25519PrivateKey.generate(), results("aaaa0001"), results("aaaa0002"))
    with pytest.raises(RefusedError, match="run aaaa0002 were signed, and are not given"):
        verified_statement(one.output / STATEMENT, one.asked(), one.runs[:1])


def test_what_was_judged_must_still_be_there_to_be_signed(tmp_path: Path) -> None:
    secret, _ = write_keys(tmp_path, "release", ed25519.Ed25519PrivateKey.generate())
    decision = decided(tmp_path, results())
    Path(decision.policy.path).write_text("format = 1\n")
    with pytest.raises(HarnessError, match="was changed while it was judged"):
        write_outputs(decision, tmp_path / "out", secret)
    assert not (tmp_path / "out" / STATEMENT).exists()


def test_an_earlier_statement_does_not_outlive_what_it_is_about(signed: Signed) -> None:
    write_outputs(signed.decision, signed.output)
    assert not (signed.output / STATEMENT).exists()


def test_the_gate_writes_only_to_a_folder_of_its_own(tmp_path: Path) -> None:
    decision = decided(tmp_path, results())
    (tmp_path / "run-0/evidence" / "x").mkdir(parents=True)
    (tmp_path / "run-0/evidence" / MARK).touch()
    for name in ("run-0", "run-0/evidence", "run-0/evidence/x", "run-0/out", ""):
        with pytest.raises(HarnessError, match="run-0, which is judged"):
            write_outputs(decision, tmp_path / name)
    (tmp_path / "run-0").rename(tmp_path / "another")
    for name in ("another/evidence", "another/evidence/x", "another/out"):
        with pytest.raises(HarnessError, match="is in the results folder"):
            write_outputs(decision, tmp_path / name)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/mine.txt").touch()
    with pytest.raises(HarnessError, match="did not write"):
        write_outputs(decision, tmp_path / "notes")
    assert not list(tmp_path.glob("another/**/report.html"))


@pytest.fixture
def passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of the gate for a run that passes."""
    monkeypatch.setattr("gate.command.time.time", lambda: NOW)
    write(tmp_path / "run", results())
    (tmp_path / "policy.toml").write_text(WITHOUT_NUMBERS)
    return ["gate", "--results", str(tmp_path / "run"), "--policy", str(tmp_path / "policy.toml")]


def test_no_pass_is_printed_that_is_not_written_and_signed_as_asked(
    passing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, _ = write_keys(tmp_path, "release", ed25519.Ed25519PrivateKey.generate())
    signing = [*passing, "--output", str(tmp_path / "out"), "--key", str(secret)]
    assert main(signing) == 0
    assert capsys.readouterr().out.startswith("PASS: it may be released.\n")
    (tmp_path / "file").touch()
    kept = (tmp_path / "out" / STATEMENT).read_bytes()
    wrong = {
        "openssl genpkey": [*signing[:-1], str(tmp_path / "none.key")],
        "Name another folder": [*passing, "--output", str(tmp_path / "file")],
        "cannot be written (File name too long)": [*passing, "--output", str(tmp_path / ("a" * 300))],
        "which is judged": [*passing, "--output", str(tmp_path / "run" / "evidence")],
    }
    for reason, argv in wrong.items():
        with monkeypatch.context() as patch:
            patch.setattr("gate.command.decide", None)  # is not asked at all
            assert main(argv) == 2
        said = capsys.readouterr()
        assert (said.out, reason in said.err) == ("", True), reason
    assert (tmp_path / "out" / STATEMENT).read_bytes() == kept, "an earlier decision is there until another is written"
    (tmp_path / "out" / "junit.xml").unlink()
    (tmp_path / "out" / "junit.xml").mkdir()
    assert main(signing) == 2
    said = capsys.readouterr()
    assert "PASS" not in said.out
    assert "junit.xml cannot be written" in said.err
    assert not (tmp_path / "out" / STATEMENT).exists()


def test_a_verdict_that_is_no_pass_is_told_where_it_cannot_be_written(
    passing: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = results()
    of(content, "alloc-exclusive").update(outcome="failed", reason="Two pods share a device.")
    write(tmp_path / "run", content)
    assert main([*passing, "--output", str(tmp_path / "out")]) == 1
    (tmp_path / "out" / "junit.xml").unlink()
    (tmp_path / "out" / "junit.xml").mkdir()
    assert main([*passing, "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().out.count("FAIL: it must not be released.") == 2


LONG = "a" * 300


def test_a_name_that_no_file_can_have_is_no_traceback(passing: list[str], kept: Signed, tmp_path: Path) -> None:
    assert main(["gate", "--results", LONG]) == 5
    assert main([*passing, "--baseline", LONG]) == 5
    assert main([*passing, "--catalogue", LONG]) == 5
    assert main([*passing[:-1], LONG]) == 5
    bundle = kept.bundle(f"{tmp_path.name}.tar")
    assert main(kept.argv(Path(LONG))) == 2
    assert main([*kept.argv(bundle)[:-1], LONG]) == 5
    assert main(kept.argv(bundle, "--catalogue", LONG)) == 2
    assert main(kept.argv(bundle, "--key", LONG)) == 2
    assert main(kept.argv(kept.output / STATEMENT, "--results", LONG)) == 2
    assert main(["verify", LONG, "--key", str(kept.public), "--image", IMAGE]) == 2


def test_without_a_digest_of_the_node_image_nothing_is_signed(tmp_path: Path) -> None:
    content = results()
    for when in ("before", "after"):
        for node in content["subject"][when]["nodes"]:
            node["image"] = "node:v1.37.2"
    secret, _ = write_keys(tmp_path, "release", ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(HarnessError, match="has no digest"):
        write_outputs(decided(tmp_path, content), tmp_path / "out", secret)


def test_keys_of_another_kind_or_for_everybody_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, public = write_keys(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    with pytest.raises(HarnessError, match="neither Ed25519 nor ECDSA"):
        signer_of(secret)
    with pytest.raises(HarnessError, match="neither Ed25519 nor ECDSA"):
        public_key(public)
    with pytest.raises(HarnessError, match="no private key"):
        signer_of(write_mode(tmp_path / "none.key", b"hello"))
    with pytest.raises(HarnessError, match="no public key"):
        public_key(write_mode(tmp_path / "none.pub", b"hello"))
    p384, _ = write_keys(tmp_path, "p384", ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(HarnessError, match="neither Ed25519 nor ECDSA"):
        signer_of(p384)
    locked, _ = write_keys(tmp_path, "locked", ed25519.Ed25519PrivateKey.generate(), "open sesame")
    with pytest.raises(HarnessError, match="needs a passphrase"):
        signer_of(locked)
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(HarnessError, match=f"passphrase in {PASSPHRASE} does not open the key"):
        signer_of(locked)
    monkeypatch.setenv(PASSPHRASE, "open sesame")
    signer_of(locked)
    locked.chmod(0o640)
    with pytest.raises(HarnessError, match="can be read by others"):
        signer_of(locked)


def write_mode(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    file.chmod(0o600)
    return file


def test_a_bundle_is_the_same_bytes_each_time_and_tar_unpacks_it(kept: Signed, tmp_path: Path) -> None:
    one, two = kept.bundle("one.tar"), kept.bundle("two.tar")
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as tar:
        names = tar.getnames()
    subprocess.run(["tar", "-xf", one, "-C", tmp_path], check=True)
    assert names[0] == STATEMENT
    assert names[1:] == sorted(names[1:])
    assert {"junit.xml", "e2e.log", "results.json"} <= set(names)
    assert (tmp_path / "runs/aaaa0001/evidence/flow-completed/pod.yaml").read_bytes() == b"kind: Pod\n"


SECRETS = {
    "a token": b"Authorization: Bearer abcdefghijklmnop.qrstuvwxyz-0123456789\n",
    "a key": b"x\n-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----\n",
    "an access key": b"id LTAI5tAbCdEfGhIjKlMnOp\n",
    "a pull secret": b'{"auths": {"registry": {"auth": "dXNlcjpwYXNzd29yZA=="}}}\n',
    "in a URL": b"GET https://user:hunter2@registry/v2/\n",
    "across two pieces": b"x" * (archive.CHUNK - 12) + b"\npassword=hunter2hunter2\n",
    "on the next line": b'"token":\n  "abcdefghijklm"\n',
}


@pytest.mark.parametrize("what", SECRETS)
def test_a_credential_is_not_packed(tmp_path: Path, what: str) -> None:
    content = results()
    keep(content, tmp_path / "run-0", "log.txt", SECRETS[what])
    secret, public = write_keys(tmp_path, "release", ed25519.Ed25519PrivateKey.generate())
    decision = decided(tmp_path, content)
    write_outputs(decision, tmp_path / "out", secret)
    signed = Signed(tmp_path, secret, public, decision)
    with pytest.raises(RefusedError, match=r"log\.txt holds what looks like a credential") as refused:
        signed.bundle()
    assert "hunter2" not in str(refused.value)
    assert not list(tmp_path.glob("*bundle*"))


def test_marks_of_what_was_taken_out_and_names_of_secrets_are_packed(tmp_path: Path) -> None:
    content = results()
    content["run"]["command"] = ["pytest", "--pull-secret", "npu/regsecret", "--pull-secret=npu/regsecret"]
    content["settings"]["pull_secret"] = "npu/regsecret"
    text = "password=█████ token: ▓▓▓▓▓\nAuthorization: ░░░░░\nMountVolume for secret regsecret, token ok\n"
    keep(content, tmp_path / "run-0", "log.txt", text.encode())
    secret, public = write_keys(tmp_path, "release", ed25519.Ed25519PrivateKey.generate())
    decision = decided(tmp_path, content)
    write_outputs(decision, tmp_path / "out", secret)
    assert Signed(tmp_path, secret, public, decision).bundle().is_file()


def rewritten(bundle: Path, change: Callable[[dict[str, bytes]], object]) -> bytes:
    """The archive with other files, as the writer would have packed them."""
    with bundle.open("rb") as stream:
        files = {member.name: b"".join(member.pieces) for member in archive.members(stream)}
    change(files)
    data = b"".join(archive.header(name, len(raw)) + raw + archive.padding(len(raw)) for name, raw in files.items())
    return data + archive.end(len(data))


def put(name: str, raw: bytes) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.update({name: raw})


def first_last(files: dict[str, bytes]) -> None:
    name = list(files)[1]
    files[name] = files.pop(name)


CHANGES: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a report": (put("report.html", b"pass"), "report.html was changed after it was signed"),
    "results": (put("runs/aaaa0001/results.json", b"{}"), "results.json was changed"),
    "a file more": (put("zz.txt", b""), "zz.txt is not in the statement"),
    "a file less": (lambda files: files.pop("junit.xml"), "junit.xml is in the statement, and was taken out"),
    "another order": (first_last, "not in the order"),
    "no statement": (lambda files: files.pop(STATEMENT), "does not begin with a statement"),
    "another catalogue": (put("catalogue.json", b"[]"), "catalogue.json was changed"),
    "a path up": (put("../../root/.profile", b"x"), "leads out of its folder"),
    "a whole path": (put("/etc/passwd", b"x"), "leads out of its folder"),
    "a path of Windows": (put("C:\\x", b"x"), "leads out of its folder"),
    "an escape": (put("a\x1b[2J", b"x"), "leads out of its folder"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_bundle_that_was_changed_is_refused(kept: Signed, tmp_path: Path, what: str) -> None:
    change, reason = CHANGES[what]
    file = tmp_path / "b.tar"
    file.write_bytes(rewritten(kept.bundle(f"{abs(hash(what))}.tar"), change))
    with pytest.raises(RefusedError, match=reason):
        verified_bundle(file, kept.asked())


@pytest.fixture(scope="module")
def packed(kept: Signed) -> bytes:
    return kept.bundle("packed.tar").read_bytes()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_byte_of_a_bundle_can_be_changed_nor_cut(kept: Signed, packed: bytes, data: st.DataObject) -> None:
    raw = bytearray(packed)
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255).filter(lambda value: value != raw[place]))
    else:
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    file = kept.folder / "damaged.tar"
    file.write_bytes(raw)
    with pytest.raises(HarnessError):
        verified_bundle(file, kept.asked())


def test_what_only_another_tar_writes_is_refused(kept: Signed, tmp_path: Path) -> None:
    def archived(**fields: Any) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=fields.pop("format", tarfile.GNU_FORMAT)) as tar:
            info = tarfile.TarInfo("a")
            for name, value in fields.items():
                setattr(info, name, value)
            tar.addfile(info, io.BytesIO(bytes(info.size)))
        return out.getvalue()

    hostile = {
        "link": archived(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "hard link": archived(type=tarfile.LNKTYPE, linkname="../x"),
        "device": archived(type=tarfile.CHRTYPE),
        "folder": archived(type=tarfile.DIRTYPE),
        "sparse": archived(type=tarfile.GNUTYPE_SPARSE),
        "extended": archived(format=tarfile.PAX_FORMAT, pax_headers={"size": str(2**60)}),
        "owner": archived(uname="root"),
        "time": archived(mtime=1),
        "appended": archived(size=3) + b"x",
        "compressed bomb": gzip.compress(bytes(10**7)),
    }
    for what, raw in hostile.items():
        file = tmp_path / f"{what}.tar"
        file.write_bytes(raw)
        with pytest.raises(RefusedError):
            _read(raw)
    with pytest.raises(HarnessError):
        verified_bundle(tmp_path / "none.tar", kept.asked())


@pytest.mark.parametrize(
    "name",
    ["/".join(["ü" * 60] * 5), "a" + "ü" * 60, *("a" * n + "證" * 400 for n in range(3)), "\N{GRINNING FACE}" * 1000],
)
def test_a_name_that_is_long_is_packed_and_read(name: str) -> None:
    name = f"runs/{'a' * 70}/{name}"  # of a run's id, which has 64 letters at most, and the longest path of evidence
    data = archive.header(name, 3) + b"abc" + archive.padding(3)
    assert _read(data + archive.end(len(data))) == {name: b"abc"}


def _read(raw: bytes) -> dict[str, bytes]:
    return {member.name: b"".join(member.pieces) for member in archive.members(io.BytesIO(raw))}


def test_the_commands_say_what_is_refused_and_exit_accordingly(
    signed: Signed, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = signed.folder / "b.tar"
    pack = ["bundle", str(signed.output), "--to", str(bundle), "--key", str(signed.public), "--results"]
    assert main([*pack, *map(str, signed.runs)]) == 0
    assert "sha256:" in capsys.readouterr().out
    argv = signed.argv(bundle)
    assert main([*argv[:-1], "release"]) == 1
    assert "REFUSED: The statement was made by another policy" in capsys.readouterr().err
    assert main([*argv[:-1], "no-such.toml"]) == 5
    os.truncate(bundle, 4096)
    assert main(argv) == 1
    assert "REFUSED" in capsys.readouterr().err
