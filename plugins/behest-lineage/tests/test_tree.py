import json

import behest_lineage
import pytest
import typer
from behest_lineage.tree import Tokens, parent_of, read_tree, tree_of
from typer.testing import CliRunner

from behest_core.errors import RunNotFoundError
from behest_core.fold.rules import replay
from behest_core.plugins.loading import plugin_from
from behest_core.testing import LocalStack
from behest_core.testing.builders import at, run_record, run_started, usage_recorded
from behest_core.testing.folding import table_of

TABLE = table_of(behest_lineage)


def state(run_id, parent=None, tokens=1, second=0, **more):
    metadata = {key: value for key, value in {"parent_run_id": parent, **more}.items() if value is not None}
    record = run_record(run_id, metadata=metadata, created_at=at(second))
    return replay(record, run_id, [[run_started(), usage_recorded(input_tokens=tokens, output_tokens=0)]], TABLE)


FAMILY = [
    state("c2", "b", 30, 3),
    state("a", tokens=1),
    state("c1", "b", 20, 2),
    state("b", "a", 300, 1, agent="planner"),
    state("d", "c1", 4000, 5),
    state("stranger", tokens=50_000),
]


def shape(node):
    return {node.run_id: [shape(child) for child in node.children]} if node.children else node.run_id


@pytest.mark.parametrize("run_id", ["a", "b", "c1", "d"])
def test_the_whole_tree_is_found_from_any_of_its_runs(run_id):
    assert shape(tree_of(FAMILY, run_id)) == {"a": [{"b": [{"c1": ["d"]}, "c2"]}]}


def test_tokens_are_added_up_per_branch():
    root = tree_of(FAMILY, "c2")
    assert (root.own, root.all, root.runs) == (Tokens(1, 0, 1), Tokens(4351, 0, 4351), 5)
    [b] = root.children
    assert (b.agent, b.own.total_tokens, b.all.total_tokens, b.runs) == ("planner", 300, 4350, 4)


def test_a_run_that_names_only_its_root_hangs_below_it():
    assert shape(tree_of([state("a"), state("x", root_run_id="a")], "x")) == {"a": ["x"]}


def test_a_root_may_name_itself():
    assert parent_of(state("a", root_run_id="a")) is None


def test_a_parent_that_is_not_there_has_a_place_without_tokens():
    root = tree_of([state("x", "gone", 5), state("y", "gone", 6)], "x")
    assert (shape(root), root.status, root.own, root.all.total_tokens, root.runs) == (
        {"gone": ["x", "y"]},
        None,
        Tokens(),
        11,
        2,
    )


def test_a_circle_is_cut_at_the_run_that_was_asked_for():
    circle = [state("a", "c"), state("b", "a"), state("c", "b")]
    root = tree_of(circle, "b")
    assert (shape(root), root.all.total_tokens) == ({"b": [{"c": ["a"]}]}, 3)


def test_a_state_without_a_slice_is_read_by_its_metadata():
    bare = state("x", "a")
    bare.extensions = {}
    assert parent_of(bare) == "a"


def test_a_run_that_is_not_there_is_said_so():
    with pytest.raises(RunNotFoundError):
        tree_of(FAMILY, "nobody")


# ---------------------------------------------------------------- on the tables


@pytest.fixture(scope="module")
def stack():
    with LocalStack() as local:
        for run_id, session, parent in [
            ("a", "s1", None),
            ("b", "s1", "a"),
            ("c", "s2", "b"),
            ("d", "s2", "c"),
            ("far", "s3", "a"),
        ]:
            metadata = {"parent_run_id": parent} if parent else {"agent": "boss\x1b[2J"}
            local.store.event_log.create(run_record(run_id, session_id=session, metadata=metadata))
            local.store.event_log.append(run_id, [run_started(), usage_recorded(input_tokens=1000, output_tokens=0)])
        local.deliver()
        yield local


def test_the_sessions_of_the_run_and_of_those_above_it_are_looked_at(stack):
    assert shape(read_tree(stack.store, "d")) == {"a": [{"b": [{"c": ["d"]}]}]}
    assert shape(read_tree(stack.store, "a")) == {"a": ["b"]}


def test_everywhere_all_runs_are_looked_at(stack):
    root = read_tree(stack.store, "b", everywhere=True)
    assert (shape(root), root.all.total_tokens) == ({"a": [{"b": [{"c": ["d"]}]}, "far"]}, 5000)


@pytest.fixture
def lineage(stack):
    """Run `behest lineage`, as the plugin adds it to the command."""
    app = typer.Typer()
    app.callback()(lambda: None)
    plugin = plugin_from(behest_lineage, "lineage")
    assert (plugin.refused, len(plugin.commands)) == (None, 1)
    plugin.commands[0](app)
    return lambda *arguments: CliRunner().invoke(app, ["lineage", *arguments], catch_exceptions=False).stdout


def test_the_command_shows_the_tree(lineage):
    assert lineage("d").splitlines() == [
        "a  boss\\x1b[2J, SessionLoaded, 1,000 tokens, 4,000 in all 4 runs",
        "└── b  SessionLoaded, 1,000 tokens, 3,000 in all 3 runs",
        "    └── c  SessionLoaded, 1,000 tokens, 2,000 in all 2 runs",
        "        └── d  SessionLoaded, 1,000 tokens",
    ]


def test_the_command_writes_json(lineage):
    root = json.loads(lineage("a", "--everywhere", "--json"))
    assert (root["run_id"], root["all"]["total_tokens"], [each["run_id"] for each in root["children"]]) == (
        "a",
        5000,
        ["b", "far"],
    )
