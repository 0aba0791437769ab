"""What the gate writes, judged by programs of others: a verifier of envelopes in Go, and the schema that is published.

They are here and not among the unit tests, as Go and a registry are needed to build and to bring them.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from gateworld import judged, of, results

from fixtures import junit
from fixtures.checks import Check
from fixtures.engine import tools
from fixtures.engine.gomodule import go_environment
from fixtures.record import Record
from fixtures.results import CheckResult, Run
from fixtures.steps import Steps
from fixtures.verdicts import verdict_of
from gate.junit import write_junit
from gate.outputs import write_outputs
from gate.statement import STATEMENT

VERIFIER = Path(__file__).parent / "dsse"
PYTEST = "pytest==9.0.1"
XSD = "testing/example_scripts/junit-10.xsd"
XSD_SHA256 = "a1a816f58d1bf95ebabf371994df0b9246dee66ea9572fbec4f9296f1b2c0ff6"
"""The schema that Jenkins' xunit plugin publishes, as pytest's source distribution carries it."""


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("dsse") / "dsse"
    argv = [str(tools.go(Steps(io.StringIO()))), "build", "-mod=readonly", "-o", str(program), "."]
    done = subprocess.run(argv, cwd=VERIFIER, env=go_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


@pytest.mark.parametrize("kind", ["ed25519", "p-256"])
def test_another_implementation_verifies_the_envelope_and_refuses_a_changed_one(
    verifier: Path, tmp_path: Path, kind: str
) -> None:
    ed = kind == "ed25519"
    private: Any = ed25519.Ed25519PrivateKey.generate() if ed else ec.generate_private_key(ec.SECP256R1())
    secret, public = tmp_path / "release.key", tmp_path / "release.pub"
    secret.touch(0o600)
    secret.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    statement = write_outputs(judged(tmp_path, results()), tmp_path / "out", secret)
    assert statement == tmp_path / "out" / STATEMENT
    done = subprocess.run([verifier, statement, public], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predicate"]["npuConformance"]["verdict"] == "pass"
    changed = json.loads(statement.read_text())
    letter = changed["payload"][40]
    changed["payload"] = changed["payload"][:40] + ("B" if letter != "B" else "C") + changed["payload"][41:]
    statement.write_text(json.dumps(changed))
    assert subprocess.run([verifier, statement, public], capture_output=True, check=False).returncode == 1


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> xmlschema.XMLSchema10:
    folder = tmp_path_factory.mktemp("xsd")
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", PYTEST]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (archive,) = folder.glob("pytest-*.tar.gz")
    with tarfile.open(archive) as tar:
        member = tar.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{XSD}")
        assert member is not None
        raw = member.read()
    assert hashlib.sha256(raw).hexdigest() == XSD_SHA256
    return xmlschema.XMLSchema10(raw.decode())


def test_the_gates_junit_is_as_published(published: xmlschema.XMLSchema10, tmp_path: Path) -> None:
    content = results()
    of(content, "alloc-exclusive").update(outcome="failed", reason="\x1b[2J<b>")
    for number, decision in enumerate([judged(tmp_path / "a", results()), judged(tmp_path / "b", content)]):
        write_junit(tmp_path / f"{number}.xml", decision)
        published.validate(tmp_path / f"{number}.xml")


def test_a_runs_junit_is_as_published(published: xmlschema.XMLSchema10, tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    (tmp_path / "test_it.py").write_text(
        "def test_one(record_property):\n    record_property('rate [it/s]', 2.5)\n    print('x')\n    assert 0, 'no'\n"
    )
    argv = [sys.executable, "-m", "pytest", "-q", "--junitxml", str(file), "-p", "no:cacheprovider", "."]
    assert subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False).returncode == 1
    with pytest.raises(xmlschema.XMLSchemaValidationError):  # pytest's own file is not, once it has properties
        published.validate(file)
    run = Run(["pytest"], {}, Steps(io.StringIO()), Record())
    check = Check("check-one", "must", "It holds.", "documented")
    run.results[check.id] = CheckResult(check, "e2e/test_other.py::test_other", "not-run")
    run.end()
    junit.complete(file, run, verdict_of(run))
    published.validate(file)
    assert len(ET.parse(file).getroot()[0].findall("testcase")) == 2  # noqa: S314 - as above
