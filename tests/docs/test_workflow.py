"""The workflow makes what the Makefile can make, on the Pythons that are supported, with no more rights than it needs."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from tests.docs.pages import ROOT
from tests.docs.test_deploying import PARAMETERS

TEXT = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
WORKFLOW: dict[str, Any] = yaml.load(TEXT, Loader=yaml.BaseLoader)  # YAML 1.1 reads the key `on` as true
JOBS: dict[str, Any] = WORKFLOW["jobs"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOO_LONG = {"soak", "bench"}
"""Checks that take long, or measure the machine that they run on."""


def commands(job: str) -> list[str]:
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


def targets(job: str) -> set[str]:
    """Return the targets that a job makes; it does nothing else."""
    found = [re.fullmatch(r"make ([a-z0-9-]+)", command) for command in commands(job)]
    assert all(found)
    return {each[1] for each in found if each}


def test_it_makes_targets_that_there_are():
    known = {*re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE)}
    assert set().union(*map(targets, JOBS)) <= known


def test_it_makes_every_check_but_those_that_take_long():
    checks = MAKEFILE.partition("- check it\n")[2].partition("- package it\n")[0]
    named = {*re.findall(r"^\.PHONY: (\S+)$", checks, re.MULTILINE)}
    assert named - TOO_LONG <= set().union(*map(targets, JOBS))


def test_it_lints_and_tests_on_every_python_that_is_supported():
    versions = JOBS["check"]["strategy"]["matrix"]["python"]
    classified = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]
    assert versions == classified
    assert versions == re.findall(r"[\d.]+", re.findall(r"^LAYER_PYTHONS \?= (.+)$", MAKEFILE, re.MULTILINE)[0])
    assert [f"python{version}" for version in versions] == PARAMETERS["Runtime"]["AllowedValues"]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert targets("check") == {"lint", "test"}


def test_the_rest_is_done_on_the_python_that_is_deployed():
    [python] = [step["with"]["python-version"] for step in JOBS["deploy"]["steps"] if "python" in step.get("uses", "")]
    assert f"python{python}" == PARAMETERS["Runtime"]["Default"]


def test_it_may_read_the_repository_and_nothing_else():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [name for name, job in JOBS.items() if "permissions" in job] == []
    checkouts = [step for job in JOBS.values() for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == ["false"] * len(JOBS)
    assert "secrets." not in TEXT


@pytest.mark.parametrize("line", re.findall(r"uses: (.+)", TEXT))
def test_an_action_is_pinned_to_a_commit_and_names_its_version(line: str):
    assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
