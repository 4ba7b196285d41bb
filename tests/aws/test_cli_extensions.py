"""The commands of operators, and the slices that plugins fold: with the plugin at hand, and without it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from behest_core.cli.commands import rebuild_runs, resume_runs, verify_runs
from behest_core.fold.dispatch import CORE
from behest_core.model.state import ExtensionSlice
from behest_core.projection.catch_up import CatchUp
from tests.builders import RUN, commit, text_delta
from tests.cli import behest, done
from tests.operating import put
from tests.unit.test_extension import LOG, approvals, dispatch, words

pytestmark = pytest.mark.usefixtures("stack")  # its tables are in the environment, for every command


@pytest.fixture
def install(monkeypatch):
    """Say which plugins the commands may use."""

    def install(using: Any) -> None:
        for module in (rebuild_runs, resume_runs, verify_runs):
            monkeypatch.setattr(module, "dispatch_of_plugins", lambda: using)

    return install


def folded_with(stack: Any, using: Any) -> None:
    put(stack, *LOG)
    CatchUp(stack.store.event_log, stack.store.state_table, using).fold(RUN)


def damage(stack: Any) -> None:
    """Let something other than behest write to a slice."""
    state = stack.store.get_state(RUN)
    piece = state.extensions["words"]
    state.extensions["words"] = ExtensionSlice.of(
        {**piece.state, "count": 100}, sequence=piece.sequence, version=piece.version
    )
    stack.store.state_table.save(state)


def words_of(stack: Any) -> Any:
    return stack.store.get_state(RUN).extensions["words"]


BROKEN = dispatch(approvals(), words(fails_at="two"))


# ---------------------------------------------------------------- parked


def test_a_parked_extension_is_listed_and_shown(stack):
    folded_with(stack, BROKEN)
    [_, row] = done("runs", "--parked").splitlines()
    assert re.split(r"\s{2,}", row)[:2] == [RUN, "RuntimeError at 4 (words)"]
    assert json.loads(done("runs", "--parked", "--json"))["extensions"]["words"]["parked"]["attempts"] == 1
    assert re.search(r"^\S+ +\S+ parked", done("runs").splitlines()[1])
    assert re.search(r"^parked words +at sequence 4, by RuntimeError: raised by ", done("show", RUN), re.MULTILINE)


def test_a_parked_extension_goes_on_once_its_plugin_is_mended(stack, install):
    folded_with(stack, BROKEN)
    install(BROKEN)
    result = behest("resume", RUN)
    assert (result.exit_code, result.stderr) == (1, "")
    assert re.fullmatch(
        rf"run {RUN} has extension words parked again at sequence 4, by RuntimeError: .+ \(attempt 2\)\n", result.stdout
    )
    assert "attempt 2" in done("show", RUN)
    install(dispatch())
    assert done("resume", "--all") == f"run {RUN} goes on, folded up to sequence 8\n"
    assert words_of(stack).state["count"] == 3


def test_an_extension_that_is_not_installed_here_stays_parked(stack, install):
    folded_with(stack, BROKEN)
    install(CORE)
    before = words_of(stack)
    result = behest("resume", "--all")
    assert (result.exit_code, result.stdout) == (
        1,
        f"run {RUN} has extension words parked at sequence 4, which is not installed here\n",
    )
    assert words_of(stack) == before


# ---------------------------------------------------------------- verify


def test_a_wrong_slice_is_shown_where_its_plugin_is_installed(stack, install):
    folded_with(stack, dispatch())
    damage(stack)
    install(CORE)
    assert done("verify") == "checked 1 run: 1 right\n"
    install(dispatch())
    result = behest("verify")
    assert (result.exit_code, result.stdout.splitlines()) == (
        1,
        [
            f'{RUN}  extensions.words: stored {{"count":100,"worst":0}}, folded {{"count":3,"worst":0}}',
            "checked 1 run: 1 wrong",
        ],
    )


def test_a_slice_that_its_plugin_can_no_longer_fold_is_wrong(stack, install):
    folded_with(stack, dispatch())
    install(BROKEN)
    assert f'{RUN}  extensions.words.parked: stored null, folded "RuntimeError"\n' in behest("verify").stdout


def test_slices_that_are_behind_or_of_another_version_are_not_wrong(stack, install):
    folded_with(stack, dispatch())
    put(stack, commit(9, text_delta()))
    CatchUp(stack.store.event_log, stack.store.state_table, CORE).fold(RUN)
    newer = words()
    newer.version = 2
    for using in (dispatch(), dispatch(approvals(), newer)):
        install(using)
        assert done("verify") == "checked 1 run: 1 right\n"


def test_a_run_with_a_parked_extension_is_parked(stack, install):
    folded_with(stack, BROKEN)
    for using in (BROKEN, CORE, dispatch()):
        install(using)
        assert behest("verify").stdout.splitlines() == [
            f"{RUN}  extension words parked at sequence 4: RuntimeError",
            "checked 1 run: 1 parked",
        ]


# ---------------------------------------------------------------- rebuild


def test_a_rebuild_folds_the_slices_of_plugins_that_are_installed_and_leaves_the_others(stack, install):
    folded_with(stack, dispatch())
    damage(stack)
    install(CORE)
    assert done("rebuild") == "folded 1 run again: 1 right already\n"
    assert words_of(stack).state["count"] == 100
    install(dispatch())
    assert done("rebuild") == "folded 1 run again: 1 changed\n"
    assert words_of(stack).state["count"] == 3


def test_a_rebuild_is_whole_where_only_a_plugin_that_is_not_installed_is_parked(stack, install):
    folded_with(stack, BROKEN)
    install(CORE)
    assert done("rebuild") == "folded 1 run again: 1 right already\n"
    install(BROKEN)
    result = behest("rebuild")
    assert (result.exit_code, result.stdout) == (1, "folded 1 run again: 1 parked\n")
    assert result.stderr.startswith(f"behest: run {RUN} has extension words parked again at sequence 4")


@pytest.mark.parametrize("command", [["verify"], ["rebuild"], ["rebuild", "--dry-run"], ["resume", "--all"]])
def test_a_plugin_that_cannot_be_used_is_named(command):
    result = behest(*command, BEHEST_PLUGINS="nonsense")
    assert result.exit_code == 0
    assert result.stderr.startswith("behest: plugin nonsense is not used, and what it has folded stays as it is: no ")
