"""What the image of the fake NPU holds: driver, plugin, `npuctl` and workload, the packages that they need, the data.

One image serves all; its entry point is the workload, and the DaemonSets name their own commands. The base brings
`python3` of release `PYTHON` and a C library of at least glibc 2.17; nothing is run in the image to make it. Bytecode
is left out, as the Python that fills the folder is seldom the image's: whoever builds the image should run `COMPILE`
in it once, which makes every start faster by about half a second.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PYTHON = "3.13"
"""Release of the image's Python: the packages hold code that is compiled for it."""
HOME = "/opt/fake-npu"
"""Where code and packages are in the image."""
ENV = {
    "PYTHONPATH": HOME,
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",  # the model is small; threads would cost start-up time and bit-for-bit results
}
ENTRYPOINT = ("python3", "-m", "fake_npu.workload")
COMPILE = ("python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", HOME)
"""Run in the image when it is built: compiles code and packages."""
DIGITS = "sklearn/datasets/data/digits.csv.gz"
"""The data's place in scikit-learn's wheel, of which nothing else is taken."""
DIGITS_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
LEFT_OUT = ("*.pyi", "*.pxd", "*.c", "*.h", "*.a", "tests", "f2py", "include", "__pycache__", "bin")
"""Files and folders of the packages that nothing needs at run time."""
_CODE = Path(__file__).parent
_REQUIREMENTS, _DATA_REQUIREMENTS = _CODE / "requirements.txt", _CODE / "requirements-data.txt"
_OLDEST_GLIBC, _NEWEST_GLIBC = 17, 41
"""Minor versions of glibc 2 whose wheels run in the image: up to that of Debian 13."""
_TIMEOUT = 900.0
"""Seconds for one run of pip."""


class ImageError(Exception):
    """The files of the image cannot be had; the message holds what pip said."""


def inputs() -> dict[str, object]:
    """All that the content depends on, as JSON values: equal inputs, equal image."""
    sha = hashlib.sha256()
    for path in _sources():
        sha.update(f"{path.relative_to(_CODE)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return {"code": sha.hexdigest(), "python": PYTHON, "machine": platform.machine()}


def fill(folder: Path) -> None:
    """Put the files of the image under `folder`, which stands for its root.

    Raises:
        ImageError: a package cannot be fetched, or is not the one that its hash names.
    """
    home = folder / HOME.lstrip("/")
    home.mkdir(parents=True)
    # pip compares what a package requires with its own Python, not with the image's; the lock has settled that
    _pip("install", "--no-compile", "--no-deps", "--ignore-requires-python", "--target", home,
         *_wheels_for_image(platform.machine()), "--require-hashes", "-r", _REQUIREMENTS)  # fmt: skip
    for pattern in LEFT_OUT:
        for path in sorted(home.rglob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    for source in _sources():
        target = home / "fake_npu" / source.relative_to(_CODE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    digits(home / "fake_npu" / "workload" / "data")
    command = folder / "usr/local/bin/npuctl"
    command.parent.mkdir(parents=True)
    command.write_text("#!/usr/bin/env python3\nimport sys\n\nfrom fake_npu.npuctl import main\n\nsys.exit(main())\n")
    command.chmod(0o755)


def digits(folder: Path) -> Path:
    """`digits.csv.gz` in `folder`, taken out of scikit-learn's wheel.

    Raises:
        ImageError: the wheel cannot be fetched, or holds other data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        # the data is the same in the wheel of any machine; one wheel, one hash
        _pip("download", "--no-deps", "--dest", scratch, *_wheels_for_image("x86_64"), "--require-hashes",
             "-r", _DATA_REQUIREMENTS)  # fmt: skip
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(DIGITS)
    if hashlib.sha256(data).hexdigest() != DIGITS_SHA256:
        raise ImageError(f"{wheel.name} holds other digits than those that the workload was written for.")
    target = folder / Path(DIGITS).name
    target.write_bytes(data)
    return target


def _sources() -> list[Path]:
    return [
        path
        for path in sorted(_CODE.rglob("*"))
        if path.is_file() and path.suffix in {".py", ".txt"} and "__pycache__" not in path.parts
    ]


def _wheels_for_image(machine: str) -> list[str]:
    glibc = range(_NEWEST_GLIBC, _OLDEST_GLIBC - 1, -1)
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in glibc] + [f"manylinux2014_{machine}"]
    choice = ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON]
    return choice + [word for name in platforms for word in ("--platform", name)]


def _pip(*arguments: str | Path) -> None:
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *map(str, arguments)]
    with tempfile.TemporaryFile() as said:
        try:
            subprocess.run(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=_TIMEOUT, check=True)
        except subprocess.TimeoutExpired:
            raise ImageError(f"pip {arguments[0]} did not end in {_TIMEOUT:.0f} s.") from None
        except subprocess.CalledProcessError as error:
            said.seek(0)
            last = said.read().decode(errors="replace").splitlines()[-8:]
            raise ImageError(f"pip {arguments[0]} failed with status {error.returncode}:\n" + "\n".join(last)) from None
