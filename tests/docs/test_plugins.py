"""docs/plugins.md: its plugin works as it stands, and every hook is documented with its exact signature, and tested."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from importlib import invalidate_caches
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from behest_core.cli import extending
from behest_core.model.limits import EXTENSION_BYTES, EXTENSIONS_BYTES, SLICE_BYTES
from behest_core.model.state import ExtensionSlice
from behest_core.plugins import hookspecs, panels
from behest_core.plugins.loading import compiled, load, plugin_from
from behest_core.plugins.panels import Facts, Rows, RunLink, RunsInput
from behest_core.projection.catch_up import CatchUp
from behest_core.testing import LocalStack, given
from tests.cli import done, refused
from tests.docs.aws_cli import commands, perform
from tests.docs.pages import ROOT, blocks, names, part, rows, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.pages import Block

PAGE = "docs/plugins.md"
PLUGIN, PROGRAM, *EXAMPLES, TESTS = blocks(PAGE, "py")
[PROJECT] = blocks(PAGE, "toml")
[RUN] = blocks(PAGE, "jsonl")
HOOKS = {name: each for name, each in vars(hookspecs).items() if name.startswith("behest_")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that pip has installed the page's package into."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    (source / "behest_feedback.py").write_text(PLUGIN.text)
    (source / "pyproject.toml").write_text(PROJECT.text)
    install = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps", "--no-index"]
    command = [*install, "--no-build-isolation", "--target", str(target), str(source)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    return target


@pytest.fixture
def used(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process find the package, and allow it."""
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setenv("BEHEST_PLUGINS", "feedback")
    invalidate_caches()
    monkeypatch.delitem(sys.modules, "behest_feedback", raising=False)


@pytest.mark.usefixtures("used")
def test_the_plugin_is_installed_and_allowed_as_it_stands():
    loaded = load(["feedback"])
    assert [(each.name, each.distribution, each.version) for each in loaded.used] == [
        ("feedback", "behest-feedback", "0.1.0")
    ]


@pytest.mark.usefixtures("used")
def test_the_trace_is_as_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("BEHEST_TRACE", "plugins")
    load(["feedback"])
    _, trace = [each.text for each in blocks(PAGE, "text")]
    assert capsys.readouterr().err == trace


def test_the_plugin_is_about_twenty_lines():
    assert sum(bool(line.strip()) for line in PLUGIN.text.splitlines()) <= 20


@pytest.mark.usefixtures("used")
def test_the_plugin_folds_the_run_that_is_shown(tmp_path: Path):
    (tmp_path / "run.jsonl").write_text(RUN.text)
    state = json.loads(done("fold", str(tmp_path / "run.jsonl")))
    assert state["extensions"]["feedback"]["state"] == {"count": 1, "total": 4}


@pytest.mark.usefixtures("used")
def test_the_program_appends_and_reads_its_slice():
    namespace: dict[str, Any] = {}
    exec(PROGRAM.text, namespace)
    with LocalStack(plugins=["feedback"]) as stack:
        run = stack.store.create_run(provider="p", model="m")
        namespace["rate"](stack.store, run.run_id)
        stack.deliver()
        assert namespace["stars"](stack.store, run.run_id) == 9
        [scan] = [command for block in blocks(PAGE, "sh") for command in commands(block.text)]
        assert perform(stack.dynamodb, scan) == [run.run_id]
        shown = done("show", run.run_id)
    assert re.search(r"feedback\n +count +2\n +total +9", shown), shown


def test_its_tests_pass(installed: Path, tmp_path: Path):
    (tmp_path / "test_feedback.py").write_text(TESTS.text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    finished = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "2 passed" in finished.stdout, finished.stdout


# ---------------------------------------------------------------- hooks


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_with_its_exact_signature(hook: str):
    signature = str(inspect.signature(HOOKS[hook])).replace("'", "")
    assert part(PAGE, f"### {hook}").strip().startswith(f"`{hook}{signature}`")


def test_nothing_is_documented_that_is_no_hook():
    assert re.findall(r"^### (behest_\w+)$", text_of(PAGE), re.MULTILINE) == list(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_an_example_that_is_accepted(hook: str):
    examples = [each for each in EXAMPLES if f"def {hook}(" in each.text]
    assert examples
    for example in examples:
        plugin = plugin_from(example_module(example), "feedback")
        assert plugin.refused is None
        assert hook in plugin.hooks


def example_module(*examples: Block) -> ModuleType:
    """Return the page's plugin with what examples add to it."""
    module = ModuleType("behest_feedback")
    for each in (PLUGIN, *examples):
        exec(compile(each.text, PAGE, "exec", dont_inherit=True), module.__dict__)
    return module


def example_of(text: str) -> Block:
    [example] = [each for each in EXAMPLES if text in each.text]
    return example


def test_the_panels_of_the_page_are_drawn():
    module = example_module(example_of("def behest_panels("))
    given_run = given(
        module, *[module.FeedbackGiven(stars=stars, timestamp="2026-01-31T12:00:00Z") for stars in (4, 5)]
    )
    assert given_run.panel("Feedback") == [Facts([("ratings", 2), ("average", 4.5)])]
    plugins = compiled([plugin_from(module, "feedback")])
    [stars] = plugins.panels("session", RunsInput(states=[given_run.state]))
    assert stars.blocks == [Rows(["run", "stars"], [[RunLink(given_run.state.run_id), 9]])]


def test_the_command_of_the_page_runs(monkeypatch: pytest.MonkeyPatch):
    module = example_module(example_of("def behest_panels("), example_of('app.command("stars")'))
    plugins = compiled([plugin_from(module, "feedback")])
    monkeypatch.setattr("behest_core.plugins.loading.load", lambda _: plugins)
    with LocalStack() as stack:
        monkeypatch.setenv("BEHEST_PLUGINS", "feedback")
        run = stack.store.create_run(provider="p", model="m", run_id="rated")
        stack.store.append(run.run_id, [module.FeedbackGiven(stars=4, timestamp="2026-01-31T12:00:00Z")])
        CatchUp(stack.store.event_log, stack.store.state_table, plugins.dispatch).fold(run.run_id)
        assert done("stars", "rated").splitlines() == ["run    stars", "rated      4"]
        assert json.loads(done("stars", "rated", "--json")) == {"rated": {"count": 1, "total": 4}}
        stack.store.create_run(provider="p", model="m", run_id="unrated")
        stack.deliver()
        assert refused("stars", "unrated") == "nobody rated these runs"


def test_the_page_names_all_that_a_command_is_written_with():
    said = {
        name.partition("(")[0]
        for row in rows(PAGE, "Name", "Is", below="### behest_commands")
        for name in names(row["Name"])
    }
    assert said == set(extending.__all__)


def test_the_page_names_all_blocks_and_values():
    said = {name.partition("(")[0] for row in rows(PAGE, "Block", "What it is") for name in names(row["Block"])}
    assert said == {each.__name__ for each in get_args(panels.Block)}
    text = part(PAGE, "### behest_panels")
    assert all(f"`{each.__name__}(" in text for each in get_args(panels.Value) if issubclass(each, msgspec.Struct))


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_a_test_of_its_own(hook: str):
    tests = [file for file in (ROOT / "tests").rglob("test_*.py") if file.parent.name != "docs"]
    assert any(f"def {hook}(" in text or f"{hook}=" in text for text in (file.read_text() for file in tests))


def test_the_reason_that_is_shown_is_the_one_that_is_given():
    @hookspecs.hookimpl
    def behest_run_changed(changes):
        pass

    module = ModuleType("behest_feedback")
    vars(module)["behest_run_changed"] = behest_run_changed
    reason, _ = [each.text for each in blocks(PAGE, "text")]
    refused = plugin_from(module, "feedback").refused or ""
    assert refused.startswith(reason.strip())


# ---------------------------------------------------------------- facts


def test_the_caps_are_those_that_hold():
    said = part(PAGE, "## The slice")
    assert f"at most {EXTENSION_BYTES // 1024} KB as JSON" in said
    assert f"together at most {EXTENSIONS_BYTES // 1024} KB" in said
    assert f"each slice has\n{SLICE_BYTES:,} for why it is parked" in said


def test_a_slice_is_stored_as_it_is_documented():
    said = [names(row["Attribute"])[0] for row in rows(PAGE, "Attribute", "Meaning", below="## The slice")]
    assert said == [each.encode_name for each in msgspec.structs.fields(ExtensionSlice)]
