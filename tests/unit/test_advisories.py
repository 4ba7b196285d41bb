"""What `make audit` makes of pip-audit's answers. A module of that name stands in for it, which says what a test wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.golden import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CLEAN = {"name": "good", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "strange", "skip_reason": "Dependency not found"}
VULNERABLE = {"name": "bad", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1", "2.0"]}]}
UNREACHABLE = ["advisories could not be reached: the pins are not checked for known vulnerabilities"]

PIP_AUDIT = """
import json, sys
answer = json.load(open({answers!r}))[sys.argv[sys.argv.index("--requirement") + 1]]
sys.stdout.write(json.dumps({{"dependencies": answer, "fixes": []}}) if isinstance(answer, list) else "")
sys.exit(answer if isinstance(answer, str) else 0)
"""


@pytest.fixture
def audit(tmp_path: Path):
    def audit(**answers: object) -> tuple[int, list[str], str]:
        """Return the exit code, the lines and the errors for files of these names and what pip-audit says of each."""
        (tmp_path / "answers.json").write_text(json.dumps(answers))
        (tmp_path / "pip_audit.py").write_text(PIP_AUDIT.format(answers=str(tmp_path / "answers.json")))
        program = [sys.executable, ROOT / "requirements" / "advisories.py", *answers]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stdout.splitlines(), done.stderr

    return audit


def test_pins_without_known_vulnerabilities_pass(audit):
    assert audit(a=[CLEAN], b=[CLEAN, CLEAN]) == (0, ["3 pins checked, 0 known vulnerabilities"], "")


def test_a_known_vulnerability_fails_and_says_what_to_take_instead(audit):
    code, lines, _ = audit(a=[CLEAN], b=[VULNERABLE])
    assert code == 1
    assert lines == ["b: bad 1.0: CVE-1, mended in 1.1, 2.0", "2 pins checked, 1 known vulnerabilities"]


@pytest.mark.parametrize(
    "error",
    [
        "requests.exceptions.ConnectionError: no name",
        "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed",
    ],
)
def test_without_a_network_one_line_says_so_and_nothing_fails(audit, error):
    assert audit(a=error, b=[CLEAN]) == (0, UNREACHABLE, "")


def test_an_index_that_knows_none_of_the_pins_is_no_network(audit):
    assert audit(a=[UNKNOWN, UNKNOWN]) == (0, UNREACHABLE, "")


def test_what_was_found_before_the_network_went_away_fails(audit):
    assert audit(a=[VULNERABLE], b="requests.exceptions.ReadTimeout")[0] == 1


def test_a_pin_that_the_index_does_not_know_is_named(audit):
    code, lines, _ = audit(a=[CLEAN, UNKNOWN])
    assert (code, lines) == (0, ["a: no advisories are kept for strange", "1 pins checked, 0 known vulnerabilities"])


def test_a_file_that_cannot_be_audited_fails_with_the_reason(audit):
    code, lines, errors = audit(a="requirement file a contains invalid specifier at line 1")
    assert (code, lines) == (1, [])
    assert "a could not be audited" in errors
    assert "invalid specifier" in errors
