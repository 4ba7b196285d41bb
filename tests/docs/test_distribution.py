"""Nobody is told to install, or depends on, a distribution that isn't ours: `behest` on the package index is somebody else's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

OURS = {
    "behest-core",
    *(path.name for path in (ROOT / "plugins").glob("behest-*")),
    "behest-{{NAME}}",
    "behest-feedback",
}
"""What this repository builds, and the examples that a reader builds himself."""

_INSTALLED = re.compile(r"pip install (?P<what>[^\n`\"\]]*)")
_NAMED = re.compile(r"(?<![\w./{-])behest[\w{}.-]*")
_PINNED = re.compile(r"(?<![\w./{-])(behest[\w{}-]*)(?:\[[\w,]+\])?[<>=!~]=")
_REQUIRED = re.compile(r"[\"'](behest[\w{}.-]*)(?:\[[\w,]+\])?(?:[<>=!~]=?[^\"']*)?[\"']")


def texts() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    kinds = {".md", ".py", ".toml", ".txt", ".in"}
    return [
        ROOT / name for name in listed.stdout.splitlines() if Path(name).suffix in kinds and (ROOT / name).is_file()
    ]


def installs(text: str) -> set[str]:
    """Return the distributions of ours, or so called, that a text tells to install with pip, or to require."""
    named = [name for command in _INSTALLED.finditer(text) for name in _NAMED.findall(command["what"])]
    return {re.split(r"[\[=<>~!;@]", name)[0].rstrip(".") for name in named} | {*_PINNED.findall(text)}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a checkout lists its files, an unpacked archive doesn't")
def test_no_text_tells_to_install_what_is_not_ours():
    told = {
        str(path.relative_to(ROOT)): installs(path.read_text()) - OURS for path in texts() if path != Path(__file__)
    }
    assert {name: foreign for name, foreign in told.items() if foreign} == {}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a checkout lists its files, an unpacked archive doesn't")
def test_no_package_depends_on_what_is_not_ours():
    required = {
        str(path.relative_to(ROOT)): {*_REQUIRED.findall(line)} - OURS
        for path in texts()
        for line in path.read_text().splitlines()
        if re.match(r"\s*(dependencies|test) = \[", line)
    }
    assert {name: foreign for name, foreign in required.items() if foreign} == {}


def test_a_foreign_name_would_be_seen():
    assert installs("pip install 'behest[cli]'") == {"behest"}
    assert installs("run: pip install behest") == {"behest"}
    assert installs("require `behest>=0.1`") == {"behest"}
    assert installs("pip install . 'behest-core[cli,testing]'") == {"behest-core"}
