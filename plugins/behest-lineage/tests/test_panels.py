"""Where a run comes from, shown: in its panel, and of a session's runs."""

import behest_lineage
from behest_lineage import Linked
from msgspec.structs import replace

from behest_core.plugins.loading import compiled, plugin_from
from behest_core.plugins.panels import Facts, RunLink, RunsInput
from behest_core.testing import given
from behest_core.testing.builders import at, run_record, run_started

METADATA = {"parent_run_id": "p", "root_run_id": "r", "agent": "researcher", "tags": ["nightly", "eu"]}


def test_a_runs_panel_says_who_started_it():
    run = given(behest_lineage, run_started(), record=run_record("run-1", metadata=METADATA))
    assert run.panel("Lineage") == [
        Facts(
            [
                ("started by", RunLink("p")),
                ("first of its tree", RunLink("r")),
                ("agent", "researcher"),
                ("tags", "nightly, eu"),
            ]
        )
    ]
    assert run.when(Linked(parent_run_id="q", timestamp=at(2))).panel("Lineage")[0].facts[0] == (
        "started by",
        RunLink("q"),
    )


def test_a_run_of_which_nothing_is_said_has_no_panel():
    assert given(behest_lineage, run_started()).panel("Lineage") == []


def test_a_sessions_panel_says_which_run_started_which():
    plugins = compiled([plugin_from(behest_lineage, "lineage")])
    root = given(behest_lineage, run_started(), record=run_record("root", metadata={"agent": "boss"})).state
    child = given(behest_lineage, run_started(), record=run_record("child", metadata={"parent_run_id": "root"})).state
    child.created_at = "2026-02-01T00:00:00Z"
    [panel] = plugins.panels("session", RunsInput(states=[child, root]))
    assert [row[:3] for row in panel.blocks[0].rows] == [
        [RunLink("root"), "boss", None],
        [RunLink("child"), None, RunLink("root")],
    ]
    alone = replace(root)
    assert plugins.panels("session", RunsInput(states=[alone])) == []
