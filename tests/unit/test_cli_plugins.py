"""The command and plugins: which there are, those that add commands, and writing a new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from behest_core.plugins import hookimpl, loading
from tests.cli import behest, done, refused
from tests.golden import ROOT
from tests.unit.test_extension import Requested, approvals


class Approvals:
    @hookimpl
    def behest_event_types(self):
        return [Requested]

    @hookimpl
    def behest_extensions(self):
        return [approvals()]

    @hookimpl
    def behest_commands(self, app):
        @app.command("pending")
        def pending(run: str = "all"):
            """Show what waits for a person."""
            sys.stdout.write(f"nothing of {run}\n")

        app.command("show")(pending)


class Wrong:
    @hookimpl
    def behest_run_changed(self, changes):
        pass


class Raising:
    @hookimpl
    def behest_commands(self):
        raise RuntimeError("no commands today")


TARGETS = SimpleNamespace(approvals=Approvals(), wrong=Wrong(), raising=Raising())


@pytest.fixture
def installed(monkeypatch):
    """Install plugins of this module by name; return what is imported."""

    def install(*names, allowed=""):
        points = [EntryPoint(name, f"{__name__}:TARGETS.{name}", loading.GROUP) for name in names]
        monkeypatch.setattr(loading, "entry_points", lambda **_: points)
        monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(TARGETS=TARGETS))
        monkeypatch.setenv("BEHEST_PLUGINS", allowed)

    return install


# ---------------------------------------------------------------- behest plugins


def test_a_plugin_is_listed_with_what_it_brings(installed):
    installed("approvals", allowed="approvals")
    assert done("plugins").splitlines() == [
        "approvals  no package  used",
        "  hooks       behest_commands, behest_event_types, behest_extensions",
        "  event types approvals.Requested",
        "  extension   approvals version 1, listens to approvals.Requested",
    ]


def test_one_that_is_not_allowed_is_marked(installed):
    installed("approvals", "wrong")
    lines = done("plugins").splitlines()
    assert lines[0] == "approvals  no package  not in BEHEST_PLUGINS"
    assert lines[4] == "wrong  no package  refused"


def test_one_that_is_allowed_and_refused_says_why_and_ends_with_1(installed):
    installed("approvals", "wrong", allowed="wrong,absent")
    result = behest("plugins", "--json")
    found = {each["name"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 1
    assert [(each["allowed"], each["refused"] is None) for each in found.values()] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    assert "changes" in found["wrong"]["refused"]
    assert "no installed package" in found["absent"]["refused"]
    assert found["approvals"]["extensions"] == [{"name": "approvals", "version": 1, "listens": ["approvals.Requested"]}]


def test_where_there_are_none_that_is_said(installed):
    installed()
    assert behest("plugins").stderr == "behest: no plugin is installed\n"


# ---------------------------------------------------------------- commands


def test_a_plugins_command_is_in_the_help_page_and_runs(installed):
    installed("approvals", allowed="approvals")
    result = behest("--help")
    assert "pending" in result.stdout
    assert "Show what waits for a person." in result.stdout
    assert behest("pending", "--run", "run-1").stdout == "nothing of run-1\n"


def test_a_name_that_behest_has_stays_its_own(installed):
    installed("approvals", allowed="approvals")
    assert "command show of plugin approvals is not used" in behest("--help").stderr
    assert "Show a run's state" in behest("show", "--help").stdout


def test_a_plugin_that_is_not_allowed_adds_nothing(installed):
    installed("approvals")
    assert "pending" not in behest("--help").stdout
    assert behest("pending").exit_code == 2


def test_behests_own_commands_import_no_plugin(installed, monkeypatch):
    installed("approvals", allowed="approvals")
    monkeypatch.setattr(loading, "entry_points", lambda **_: pytest.fail("looked"))
    assert behest("runs", "--help").exit_code == 0


@pytest.mark.parametrize(
    ("name", "reason"), [("raising", "behest_commands raised RuntimeError"), ("wrong", "plugin wrong is not used")]
)
def test_a_plugin_whose_commands_cannot_be_had_is_named_and_the_others_are_there(installed, name, reason):
    installed("approvals", name, allowed="*")
    result = behest("--help")
    assert "pending" in result.stdout
    assert reason in result.stderr


# ---------------------------------------------------------------- the trace


def test_the_trace_tells_what_each_plugin_brought_and_why_one_is_refused(installed, monkeypatch, capsys):
    installed("approvals", "wrong")
    monkeypatch.setenv("BEHEST_TRACE", "plugins")
    loading.load(["*"])
    brought, reason = capsys.readouterr().err.splitlines()
    assert brought == (
        "behest: plugin approvals (? ?): hooks behest_commands, behest_event_types, behest_extensions; "
        "types approvals.Requested; extensions approvals (version 1)"
    )
    assert reason.startswith("behest: plugin wrong is refused: ")


def test_without_the_switch_nothing_is_told(installed, capsys):
    installed("approvals")
    loading.load(["*"])
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- behest plugin new


def test_a_new_plugin_passes_its_own_tests_and_linters(tmp_path):
    folder = tmp_path / "new"
    assert done("plugin", "new", "two-words", "--folder", str(folder)).startswith(f"wrote {folder}; next: ")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    for command, shown in (
        (["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests"], "4 passed"),
        (["-m", "ruff", "check", "--isolated", "--no-cache", "."], "All checks passed"),
        (["-m", "mypy", "--strict", "--cache-dir", os.devnull, "behest_two_words.py"], "Success"),
    ):
        finished = subprocess.run(
            [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert shown in finished.stdout, finished.stdout + finished.stderr


def test_a_new_plugin_is_installed_by_pip_and_allowed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done("plugin", "new", "ratings")
    install = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run(
        [*install, "--no-build-isolation", "--target", "installed", "./behest-ratings"], check=True, capture_output=True
    )
    monkeypatch.syspath_prepend(tmp_path / "installed")
    [plugin] = loading.load(["ratings"]).used
    assert (plugin.distribution, plugin.version) == ("behest-ratings", "0.1.0")
    assert [each.name for each in plugin.extensions] == ["ratings"]


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "kept").touch()
    assert "is there already" in refused("plugin", "new", "ratings", "--folder", str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("name", ["Ratings", "a--b", "core", "x" * 41, "1st", "../up"])
def test_a_name_that_will_not_do_is_a_mistake_in_usage(name, tmp_path):
    assert behest("plugin", "new", name, "--folder", str(tmp_path / "new")).exit_code == 2
    assert not (tmp_path / "new").exists()
