"""CONTRIBUTING.md names what there is: files, targets, tests, options; and shows what the simulation prints."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT, blocks, names, prose, rows, text_of
from tests.simulation.faults import Rates

PAGE = "CONTRIBUTING.md"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = {*re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE)}
COMMANDS = [line for block in blocks(PAGE, "sh") for line in block.text.splitlines()]
PLACES = [name for name in names(prose(PAGE)) if "/" in name and re.fullmatch(r"[\w./-]+", name)]
TESTS = [name for name in names(prose(PAGE)) if name.startswith("test_")]
AN_EXAMPLE = "test_a_plugin_hears_of_each_change"


@pytest.mark.parametrize("place", sorted({*PLACES}))
def test_a_place_that_is_named_is_there(place: str):
    roots = (ROOT, ROOT / "behest_core")  # of folders of the package it may leave the package out
    assert any((root / place).exists() for root in roots)


@pytest.mark.parametrize("name", [*TESTS, AN_EXAMPLE])
def test_a_test_that_is_named_is_there(name: str):
    assert any(f"def {name}(" in file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))


def test_a_target_that_is_named_is_there():
    written = [*COMMANDS, *(name for name in names(prose(PAGE)) if name.startswith("make "))]
    found = [words[1:] for words in map(shlex.split, written) if words[:1] == ["make"]]
    named = {word for words in found for word in words if re.fullmatch(r"[a-z0-9-]+", word)}
    assert named
    assert named <= TARGETS


def test_every_check_is_explained():
    checks = MAKEFILE.partition("- check it\n")[2].partition("- package it\n")[0]
    said = {row["Target"].strip("`") for row in rows(PAGE, "Target", "Checks", "Takes about")}
    assert said == {f"make {name}" for name in re.findall(r"^\.PHONY: (\S+)$", checks, re.MULTILINE)}


def test_every_module_of_the_simulation_that_is_no_test_is_explained_or_serves_one_that_is():
    said = {name for row in rows(PAGE, "Module", "What is in it") for name in names(row["Module"])}
    imported = {
        f"tests/simulation/{module}.py"
        for name in [*said, "tests/simulation/__main__.py"]
        for module in re.findall(r"from tests\.simulation\.(\w+)", (ROOT / name).read_text(encoding="utf-8"))
    }
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests" / "simulation").glob("[a-z]*.py")
        if not path.name.startswith("test_")
    }
    assert there <= said | imported


def test_a_simulation_prints_the_lines_that_are_shown():
    command = ["-m", "tests.simulation", "--seed", "3", "--runs", "3", "--events", "12", "--trace"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    printed = done.stdout.splitlines()
    summary, _, trace = (block.text.splitlines() for block in blocks(PAGE, "text"))
    assert [kind(line) for line in printed[-len(summary) :]] == [kind(line) for line in summary]
    assert {shape(line) for line in trace} <= {*map(shape, printed), "0 agent-0: PutItem run-0 0 throttle"}


def kind(line: str) -> str:
    """Return a line of the summary without what differs between histories."""
    return re.sub(r"[\d,.]+", "0", line).partition(":")[0]


def shape(line: str) -> str:
    """Return a line of a trace without its numbers, and of a delivery but one record."""
    return re.sub(r"( run-0,0)+", " run-0,0", re.sub(r"[\d.]+", "0", line).strip())


def test_the_faults_that_are_shown_are_faults():
    [line] = [line for line in text_of(PAGE).splitlines() if line.startswith("faults: ")]
    named = {each.split()[1] for each in line.removeprefix("faults: ").split(", ")}
    assert named <= {*Rates.__dataclass_fields__, "deploy"}
