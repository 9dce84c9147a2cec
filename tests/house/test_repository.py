"""The repository around the package: papers present and in agreement, nothing private, examples that run."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}

MAX_BYTES = 1 << 20
REQUIRED = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "DEVIATIONS.md", "LICENSE", "CITATION.cff"),
    *("Makefile", "pyproject.toml", "constraints.txt", ".ci/run"),
)
# Written in pieces so that this file does not name them.
PRIVATE = re.compile(
    r"(?<![\w.$}-])/(?:work|root|home|opt/" + "pypi)/"
    r"|\.\./" + "shared/"
    r"|\b(?:pypi" + r"\.org|pythonhosted" + r"\.org|download\.pytorch" + r"\.org|anaconda" + r"\.org)\b"
)


@functools.cache
def tracked_files() -> list[Path]:
    """The files in version control; skips the test where there are none to ask for."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def private_mentions(text: str) -> Iterator[tuple[int, str]]:
    """(line number, what was found) of each private path or package host in `text`."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in PRIVATE.finditer(line):
            yield number, match.group()


@pytest.mark.parametrize("name", REQUIRED)
def test_required_file_exists(name: str) -> None:
    assert (ROOT / name).is_file(), f"{name} is missing"
    assert (ROOT / name).read_text(encoding="utf-8").strip(), f"{name} is empty"


def test_ci_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK), "chmod +x .ci/run"


def test_version_and_licence_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]["text"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_constraints_pin_every_dependency_within_its_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    extras = PROJECT["optional-dependencies"]
    for text in (*PROJECT["dependencies"], *extras["export"], *extras["tune"], *extras["dev"]):
        wanted = Requirement(text)
        version = versions.get(canonicalize_name(wanted.name))
        assert version is not None, f"constraints.txt does not pin {wanted.name}"
        assert wanted.specifier.contains(version), f"constraints.txt pins {wanted.name} {version}, not in {wanted}"
    assert not [pin for pin in versions.values() if "+" in pin], "a local version tag exists on one machine only"


def test_tracked_files_are_small() -> None:
    large = [
        f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes"
        for path in tracked_files()
        if path.stat().st_size > MAX_BYTES
    ]
    assert not large, f"over {MAX_BYTES} bytes:\n" + "\n".join(large)


def test_no_file_names_a_private_place() -> None:
    mentions = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        found = private_mentions(content.decode("utf-8", errors="replace"))
        mentions += [f"{path.relative_to(ROOT)}:{number} names {what}" for number, what in found]
    assert not mentions, "\n".join(mentions)


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("see /" + "work/main/x.py", True),
        ("--data ../" + "shared/data", True),
        ("https://pypi" + ".org/simple", True),
        ("'/" + "home/someone/.cache'", True),
        ("https://example.com/" + "work/home/page", False),
        ("frame" + "work/nets", False),
        ("~/.cache/hypertail", False),
    ],
)
def test_private_places_are_recognised(text: str, private: bool) -> None:
    assert bool(list(private_mentions(text))) is private


def test_examples_are_numbered_in_reading_order() -> None:
    names = [path.name for path in EXAMPLES]
    numbers = [int(match.group(1)) if (match := re.match(r"(\d\d)_[a-z0-9_]+\.py$", name)) else None for name in names]
    assert names, "examples/ holds no example"
    assert numbers == list(range(1, len(names) + 1)), f"name them 01_..., 02_..., without a gap: {names}"


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, f"{example.name} failed:\n{result.stdout}\n{result.stderr}"
