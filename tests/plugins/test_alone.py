"""Each package under plugins/ can be taken away: its tests run with its own folder, what is installed, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.golden import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml"))
ADAPTERS = [name for name in PACKAGES if list((ROOT / "plugins" / name / "tests").glob("*_models.py"))]
BEHAVIOURS = {
    "test_agents.py",
    "test_cancelled.py",
    "test_concurrency.py",
    "test_failures.py",
    "test_log_is_true.py",
    "test_models.py",
    "test_odd_values.py",
    "test_pauses.py",
    "test_runs.py",
    "test_settings.py",
    "test_text.py",
    "test_tools.py",
    "test_unobtrusive.py",
    "test_usage.py",
}
OF_ONE = {
    "behest-durable": {
        "test_checkpoints.py",
        "test_decisions.py",
        "test_journal.py",
        "test_killed.py",
        "test_steps.py",
    },
    "behest-ag-ui": {"test_pydantic_ai.py", "test_translation.py"},
    "behest-pydantic-ai": {"test_requests.py"},
}
"""Tests of what not all adapters have: AG-UI's events by themselves, and an agent that speaks it; what Pydantic AI sends a model;
what a durable execution replays and survives."""
MISSING = {
    "behest-ag-ui": {"test_concurrency.py", "test_models.py", "test_usage.py"},
    "behest-durable": {"test_cancelled.py", "test_log_is_true.py", "test_text.py", "test_tools.py", "test_usage.py"},
}
"""Of AG-UI: the protocol tells of no model calls, and of tokens with the end of the run only. Of durable functions: nobody inside
can cancel one, and their steps call models by hand or through other adapters, which have tests of text, tools and usage, and play
the adapter kit's scripts."""

RUN = {"behest-approvals": "tests", "behest-strands": "tests/test_tools.py"}
"""What is run, of a plugin and of an adapter. The others are only collected, as most of their time is their frameworks'."""

_PYTEST = """
import sys

import behest_core
# packages that are installed to be edited bring their whole folder, and so this repository's tests
root, *arguments = sys.argv[1:]
sys.path[:] = [path for path in sys.path if not path.startswith(root) or "site-packages" in path]

import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *arguments]))
"""


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, without those of its plugins that happen to be installed here."""
    command = [sys.executable, "-c", _PYTEST, str(ROOT), *arguments]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def run_alone(tmp_path: Path):
    """Run a package's tests in a copy of its folder, where nothing else is."""

    def run(name: str, *arguments: str) -> str:
        shutil.copytree(ROOT / "plugins" / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        finished = pytest_in(tmp_path / name, *arguments)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    return run


@pytest.mark.parametrize("name", [each for each in PACKAGES if each not in RUN])
def test_the_tests_of_a_package_need_nothing_but_what_is_installed(run_alone, name):
    assert "tests collected" in run_alone(name, "--collect-only")


@pytest.mark.parametrize("name", RUN)
def test_the_tests_of_a_package_pass_in_a_folder_of_its_own(run_alone, name):
    assert " passed" in run_alone(name, RUN[name])


def test_what_a_package_takes_from_this_repositorys_tests_would_be_seen(tmp_path):
    (tmp_path / "test_it.py").write_text("from tests.builders import run_started\n\n\ndef test_it():\n    pass\n")
    finished = pytest_in(tmp_path, "--collect-only")
    assert "No module named 'tests" in finished.stdout


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_tests_of_each_adapter_have_the_same_files(name):
    found = {path.name for path in (ROOT / "plugins" / name / "tests").glob("test_*.py")}
    assert found - OF_ONE.get(name, set()) == BEHAVIOURS - MISSING.get(name, set())
