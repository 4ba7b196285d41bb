"""docs/architecture.md names the folders that there are, and computes what runs cost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.docs import costs
from tests.docs.pages import ROOT, part, rows
from tests.unit.test_layers import LAYERS

PAGE = "docs/architecture.md"
FOLDERS = [row["Folder"].strip("`") for row in rows(PAGE, "Folder", "What is in it")]

RUN = costs.events()


# ---------------------------------------------------------------- the folders


def test_the_folders_are_those_of_the_dependency_rule_in_its_order():
    assert [name for layer in LAYERS for name in layer] == FOLDERS


def test_every_folder_is_in_the_rule():
    there = {path.stem for path in (ROOT / "behest_core").glob("[!_]*") if path.suffix in {"", ".py"}}
    assert there == set(FOLDERS)


# ---------------------------------------------------------------- the costs

PACKED = rows(
    PAGE,
    "Events are appended",
    "Items",
    "Event table",
    "Were it text only",
    "State table",
    "Indexes",
    "Sum per run",
    "Sum per 1,000 events",
)
BATCHED = rows(PAGE, "Batching window", "State table", "Sum per run", "Sum per 1,000 events")
PACKING = {"one by one": 0, "every 100 ms": 100, "every 500 ms": 500, "every second": 1000}


def figures(row: dict[str, str]) -> list[int]:
    return [int(cell.replace(",", "")) for cell in list(row.values())[1:]]


def test_the_run_is_the_one_that_is_described():
    text = part(PAGE, "## What costs what")
    assert f"{len(RUN)} events of {round(costs.mean_size(RUN) / 10) * 10} bytes in {RUN[-1][0].seconds} s" in text
    kinds = [event.split(b'"')[3] for _, event in RUN]
    assert f"{kinds.count(b'ModelStarted')} model calls and {kinds.count(b'ToolCallStarted')} tool calls" in text


@pytest.mark.parametrize("row", PACKED, ids=lambda row: row["Events are appended"])
def test_what_a_run_costs_by_how_its_events_are_packed(row: dict[str, str]):
    packed_over = timedelta(milliseconds=PACKING[row["Events are appended"]])
    cost = costs.cost(RUN, packed_over=packed_over, batched_over=timedelta(seconds=1))
    per_thousand = round(1000 * cost.total / len(RUN))
    units = [cost.commits, cost.log, cost.log_as_text, cost.state, cost.index, cost.total]
    assert figures(row) == [*units, per_thousand]


@pytest.mark.parametrize("row", BATCHED, ids=lambda row: row["Batching window"])
def test_what_a_run_costs_by_how_its_commits_are_batched(row: dict[str, str]):
    window = timedelta(seconds=int(row["Batching window"].removesuffix(" s")))
    cost = costs.cost(RUN, packed_over=timedelta(seconds=1), batched_over=window)
    assert figures(row) == [cost.state, cost.total, round(1000 * cost.total / len(RUN))]


def test_what_a_million_runs_cost_follows_from_the_table():
    text = " ".join(part(PAGE, "## What costs what").split())
    most, *_, least = (figures(row)[-2] for row in PACKED)
    assert f"cost {0.625 * least:.0f} USD, or {0.625 * most:.0f} USD" in text
