"""Commands that fold, with plugins, on the local stack."""

from __future__ import annotations

import json
import re

import pytest

from behest_core.fold.dispatch import CORE
from behest_core.model.state import ExtensionSlice
from behest_core.plugins import loading
from behest_core.plugins.loading import Plugins
from behest_core.projection.catch_up import CatchUp
from tests.builders import RUN, commit, text_delta
from tests.cli import behest, done, line, refused
from tests.operating import mend, parked_run, put
from tests.unit.test_extension import LOG, dispatch

pytestmark = pytest.mark.usefixtures("stack", "used")


@pytest.fixture
def used(monkeypatch):
    """Let the commands use the extensions approvals and words."""
    monkeypatch.setattr("behest_core.cli.used_plugins.load", lambda _: Plugins(dispatch()))


@pytest.fixture
def run(stack):
    """Return a stack with a run that was folded before the plugins came."""
    put(stack, *LOG)
    CatchUp(stack.store.event_log, stack.store.state_table, CORE).fold(RUN)


def slices(stack):
    return {name: each.state for name, each in stack.store.get_state(RUN).extensions.items()}


@pytest.mark.usefixtures("run")
def test_rebuild_folds_one_extension_of_runs_that_were_there_before(stack):
    assert done("rebuild", "--extension", "words").endswith(" again: 1 changed\n")
    assert slices(stack)["words"]["count"] == 3
    assert done("rebuild", "--extension", "words").endswith(" again: 1 right already\n")


def test_rebuild_of_one_extension_folds_its_slice_again(stack, run):
    done("rebuild")
    damaged = stack.store.get_state(RUN)
    damaged.extensions["words"] = ExtensionSlice.of({"count": 100}, sequence=damaged.sequence, version=1)
    stack.store.state_table.save(damaged)
    done("rebuild", "--extension=words", RUN)
    assert slices(stack)["words"]["count"] == 3


def test_an_extension_that_is_not_used_here_is_refused(run):
    assert refused("rebuild", "--extension", "cost").startswith(
        "no plugin in use has an extension cost; there is approvals, words; install the plugin"
    )


def test_a_dry_run_of_one_extension_is_a_mistake_in_usage(run):
    assert behest("rebuild", "--extension", "words", "--dry-run").exit_code == 2


def test_a_rebuild_of_one_extension_that_is_cut_short_names_it_in_what_goes_on(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("behest_core.cli.outcomes.Folding.fold_again", interrupt)
    result = behest("rebuild", "--extension", "words")
    assert "to go on: behest rebuild --extension=words" in result.stderr


def test_show_prints_a_slice_that_no_panel_draws_as_a_tree(run):
    done("rebuild")
    assert re.search(r"^words\n  count +3\n  worst +0$", done("show", RUN), re.MULTILINE)


def test_show_folds_the_slices_as_they_were(run):
    state = json.loads(done("show", RUN, "--at-sequence", "3", "--json"))
    assert state["extensions"]["words"]["state"]["count"] == 1
    state = json.loads(done("show", RUN, "--at", "2026-01-31T12:00:04Z", "--json"))
    assert state["extensions"]["words"]["state"]["count"] == 2


def test_fold_gives_the_slices_and_what_an_extension_cannot_read_parks_it_alone():
    events = [text_delta(3), {"type": "approvals.Requested", "timestamp": "2026-01-31T12:00:05Z", "call_id": 5}]
    state = json.loads(done("fold", "-", stdin=line(*events)))
    assert state["extensions"]["words"]["state"]["count"] == 1
    assert state["extensions"]["approvals"]["parked"]["sequence"] == 2


def test_where_the_log_is_gone_in_part_the_slice_stays(stack):
    put(stack, *LOG)
    CatchUp(stack.store.event_log, stack.store.state_table, dispatch()).fold(RUN)
    before = stack.store.get_state(RUN)
    for sequence in "01":
        key = {"run_id": {"S": RUN}, "sequence": {"N": sequence}}
        stack.dynamodb.delete_item(TableName=stack.event_table, Key=key)
    result = behest("rebuild", "--extension", "words")
    assert (result.exit_code, result.stdout.split(": ")[1]) == (1, "1 refused\n")
    assert "the state stays as it is" in result.stderr
    assert stack.store.get_state(RUN) == before


def test_a_plugin_that_is_refused_is_named_and_its_slices_stay(stack, run, monkeypatch):
    done("rebuild")
    put(stack, commit(9, text_delta()))
    broken = loading.Plugin("words", refused="it has a bug")
    monkeypatch.setattr("behest_core.cli.used_plugins.load", lambda _: Plugins(refused=(broken,)))
    assert "plugin words is not used" in behest("rebuild").stderr
    assert slices(stack)["words"]["count"] == 3


def test_an_extension_of_a_parked_run_is_not_folded_and_that_is_said(stack, run):
    parked_run(stack, "stuck")
    result = behest("rebuild", "--extension", "words")
    assert (result.exit_code, result.stdout) == (1, "folded 2 runs again: 1 changed, 1 parked\n")
    assert result.stderr.splitlines()[1] == (
        "behest: so its extension words was not folded; once that is mended: "
        "behest resume stuck && behest rebuild --extension=words stuck"
    )
    assert result.stderr.startswith("behest: run stuck is parked at sequence 2, by MalformedEventError: ")
    mend(stack, "stuck")
    done("resume", "stuck")
    assert done("rebuild", "--extension=words", "stuck").startswith("folded 1 run again: ")
    assert "words" in stack.store.get_state("stuck").extensions
