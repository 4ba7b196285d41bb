"""The four plugins of this repository together: over the seed's runs, on the tables, and as their READMEs say."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import entry_points
from itertools import islice

import behest_approvals
import behest_cost
import behest_lineage
import behest_tools
import pytest
from behest_approvals import Granted, Requested
from behest_lineage import Linked
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords
from msgspec.json import encode

from behest_core import interchange
from behest_core import plugins as facade
from behest_core.fold.dispatch import CORE
from behest_core.fold.rules import fold
from behest_core.model.commit import Commit
from behest_core.model.events import ModelStarted, ToolExecutionFinished, ToolExecutionResult
from behest_core.model.limits import EXTENSIONS_BYTES
from behest_core.model.packing import array_of
from behest_core.model.record import encode_record
from behest_core.plugins.loading import GROUP, compiled, load, plugin_from
from behest_core.projection.catch_up import CatchUp
from behest_core.testing import LocalStack, check_plugin
from behest_core.testing.folding import slices_of_any_cut
from tests.builders import (
    at,
    commit,
    record_commit,
    run_completed,
    run_record,
    run_started,
    text_delta,
    usage_recorded,
)
from tests.docs.pages import blocks
from tests.golden import ROOT, SEED_FOLD, golden_lines

OURS = {"approvals": behest_approvals, "cost": behest_cost, "lineage": behest_lineage, "tools": behest_tools}
FOLD_NOTHING = {"durable", "otel"}
"""Adapters: one has a command, one brings decisions to what waits for them."""

EVENTS_PER_COMMIT = 20
FACADE = "behest_core.plugins"


@pytest.fixture(scope="module")
def table():
    loaded = compiled([plugin_from(plugin, name) for name, plugin in OURS.items()])
    assert loaded.refused == ()
    return loaded.dispatch


def seed_runs():
    for number, line in enumerate(golden_lines(SEED_FOLD), 1):
        run = interchange.read_run("seed_fold", number, line)
        run_id = run.record.run_id
        log = [Commit(run_id=run_id, sequence=0, payload=encode_record(run.record))]
        events = iter(run.events)
        sequence = 1
        while batch := list(islice(events, EVENTS_PER_COMMIT)):
            payload = array_of(event.raw for event in batch)
            log.append(Commit(run_id=run_id, sequence=sequence, count=len(batch), payload=payload))
            sequence += len(batch)
        yield log


# ---------------------------------------------------------------- loading


@pytest.mark.parametrize("name", OURS)
def test_the_entry_point_of_each_package_leads_to_its_hooks(name):
    [entry_point] = [each for each in entry_points(group=GROUP) if each.name == name]
    assert entry_point.load() is OURS[name]


def test_installed_and_allowed_all_four_are_used():
    loaded = load(sorted(OURS))
    assert loaded.refused == ()
    assert [(plugin.name, plugin.distribution) for plugin in loaded.used] == [(n, f"behest-{n}") for n in sorted(OURS)]
    assert [extension.name for extension in loaded.dispatch.extensions] == sorted(OURS)


@pytest.mark.parametrize("name", OURS)
def test_each_passes_the_conformance_kit(name):
    check_plugin(OURS[name])


# ---------------------------------------------------------------- folding


def test_over_the_seeds_runs_none_of_them_is_parked_and_the_core_is_the_same_as_without(table):
    for log in seed_runs():
        state = fold(None, log, table).state
        assert {name: piece.parked for name, piece in state.extensions.items()} == dict.fromkeys(OURS)
        assert {piece.sequence for piece in state.extensions.values()} == {state.sequence}
        state.extensions = {}
        assert state == fold(None, log, CORE).state


def test_over_the_seeds_runs_any_cut_into_batches_gives_the_same(table):
    for log in islice(seed_runs(), 0, None, 20):
        whole = fold(None, log, table).state.extensions
        assert all(cut == whole for cut in slices_of_any_cut(table, log, cuts=3))


def test_over_the_seeds_runs_each_usage_is_priced_or_counted_and_each_tool_call_kept(table):
    priced = unpriced = calls = 0
    for log in seed_runs():
        slices = fold(None, log, table).state.extensions
        cost = slices["cost"].state
        assert cost["calls"] == sum(
            each["calls"] for each in [*cost["models"].values(), *filter(None, [cost["other_models"]])]
        )
        priced += cost["calls"] - cost["unpriced_calls"]
        unpriced += cost["unpriced_calls"]
        tools = slices["tools"].state
        calls += sum(tool["calls"] for tool in [*tools["tools"].values(), tools["other"] or {"calls": 0}])
    assert calls > 0
    assert priced + unpriced > 0


def test_the_largest_slices_of_all_four_fit_one_item(table):
    """The text is what takes most room as JSON that agents are likely to write: an emoji has four bytes."""
    wide = "\U0001f916"
    events = [run_started()]
    for n in range(100):
        events += [
            ModelStarted(provider="p", model=f"{n:03}{wide * 80}", iteration=n, timestamp=at(n)),
            usage_recorded(n, 2**40, 2**40, cache_read_input_tokens=2**40, cache_creation_input_tokens=2**40),
            ToolExecutionFinished(
                call_id="c",
                tool_name=f"{n:03}{wide * 61}",
                result=ToolExecutionResult.failed("boom"),
                duration_ms=2**40,
                timestamp=at(n),
            ),
            Requested(call_id=f"{n:03}{wide * 125}", tool_name=wide * 99, reason=wide * 300, timestamp=at(n)),
        ]
    events.append(Linked(agent=wide * 300, tags=[f"{n:03}{wide * 70}" for n in range(99)], timestamp=at(9)))
    state = fold(None, [record_commit(), *(commit(n, each) for n, each in enumerate(events, 1))], table).state
    assert {name: piece.parked for name, piece in state.extensions.items()} == dict.fromkeys(OURS)
    assert sum(len(encode(piece.state)) for piece in state.extensions.values()) < EXTENSIONS_BYTES


# ---------------------------------------------------------------- on the tables


@pytest.fixture(scope="module")
def stack(table):
    with LocalStack() as local:
        catch_up = CatchUp(local.store.event_log, local.store.state_table, table)
        for run_id, end in (("planner-1", run_completed(9)), ("search-1", Granted(call_id="call-1", timestamp=at(9)))):
            metadata = {"parent_run_id": "planner-1", "tags": ["nightly"]} if run_id == "search-1" else None
            local.store.event_log.create(run_record(run_id, metadata=metadata))
            asks = [Requested(call_id=call, tool_name="mail", timestamp=at(3)) for call in ("call-1", "call-2")]
            failed = ToolExecutionResult.failed("no such page")
            tool = ToolExecutionFinished(
                call_id="c", tool_name="search", result=failed, duration_ms=30, timestamp=at(4)
            )
            model = ModelStarted(provider="openai", model="gpt-4o", iteration=1, timestamp=at(2))
            usage = usage_recorded(5, 10_000, 1_000)
            local.store.event_log.append(run_id, [run_started(), model, text_delta(), *asks, tool, usage, end])
            catch_up.fold(run_id)
        yield local


def test_the_slices_lie_in_the_state_item_as_native_attributes(stack):
    slices = stack.store.get_state("search-1").extensions
    assert slices["approvals"].state["waiting"] == 1
    assert slices["cost"].state["nano_usd"] == 10_000 * 2_500 + 1_000 * 10_000
    assert slices["lineage"].state["parent_run_id"] == "planner-1"
    assert slices["tools"].state["tools"]["search"]["errors"] == 1
    assert {piece.parked for piece in slices.values()} == {None}


SHOWN = {
    "approvals": ["planner-1 Completed call-1", "planner-1 Completed call-2", "search-1 CallingModel call-2"],
    "cost": ["planner-1 0.035 unpriced: 0", "search-1 0.035 unpriced: 0"],
    "lineage": ["['search-1']", "['search-1']"],
    "tools": ["planner-1 1 8000", "search-1 1 None"],
}


@pytest.mark.parametrize("name", OURS)
def test_the_query_of_each_readme_finds_what_it_says(stack, capsys, name):
    text = (ROOT / "plugins" / f"behest-{name}" / "README.md").read_text()
    [query] = re.findall(r"## A query\n.*?```python\n(.*?)```", text, re.DOTALL)
    exec(compile(query, "README.md", "exec"), {})
    lines = sorted(capsys.readouterr().out.splitlines())
    assert all(line.startswith(shown) for line, shown in zip(lines, SHOWN[name], strict=True)), lines


@pytest.mark.parametrize("name", OURS)
def test_the_partiql_of_each_readme_quotes_reserved_words(name):
    text = (ROOT / "plugins" / f"behest-{name}" / "README.md").read_text()
    [statement] = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    bare = set(re.findall(r"[a-z_]+", re.sub(r"\"[^\"]*\"|'[^']*'", "", statement))) - {"contains"}
    assert {word for word in bare if word.upper() in ReservedKeywords.get_reserved_keywords()} == set()


@pytest.mark.parametrize("name", OURS)
def test_each_readme_names_every_field_of_the_slice(name):
    text = (ROOT / "plugins" / f"behest-{name}" / "README.md").read_text()
    [extension] = plugin_from(OURS[name], name).extensions
    assert [each for each in extension.state.__struct_fields__ if f"`{each}`" not in text] == []


def test_every_package_that_is_a_plugin_is_tested_here():
    projects = [tomllib.loads(file.read_text())["project"] for file in (ROOT / "plugins").glob("*/pyproject.toml")]
    plugins = [name for project in projects for name in project.get("entry-points", {}).get(GROUP, {})]
    assert sorted(plugins) == sorted([*OURS, *FOLD_NOTHING])


def imports_past_the_facade(source: str) -> list[str]:
    """Return what a plugin's source imports from elsewhere though `behest_core.plugins` has it."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return [
        f"{node.module}.{name.name}"
        for node in imports
        for name in node.names
        if name.name in facade.__all__ and (node.module or "").startswith("behest_core.") and node.module != FACADE
    ]


def test_what_a_plugin_is_written_with_comes_from_one_module():
    template = ROOT / "behest_core" / "cli" / "commands" / "plugin_template"
    sources = [file.read_text() for file in (ROOT / "plugins").glob("*/behest_*/*.py")]
    sources += [re.sub(r"{{\w+}}", "x", file.read_text()) for file in template.glob("*.py.txt")]
    sources += [block.text for block in blocks("docs/plugins.md", "py")]
    assert len(sources) > 20
    assert [found for source in sources for found in imports_past_the_facade(source)] == []
    assert imports_past_the_facade("from behest_core.fold.extension import Extension") == [
        "behest_core.fold.extension.Extension"
    ]
