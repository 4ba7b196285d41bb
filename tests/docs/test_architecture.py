"""docs/architecture.md names the modules that there are, keeps its word on what they import, and computes what runs cost."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest

from tests.docs import costs
from tests.docs.pages import ROOT, part, rows

PAGE = "docs/architecture.md"
MODULES = [row["Module"].strip("`") for row in rows(PAGE, "Module", "What is in it")]
PURE = MODULES[: MODULES.index("errors") + 1]

RUN = costs.events()


# ---------------------------------------------------------------- the modules


def test_every_module_is_named():
    assert sorted(MODULES) == sorted(file.stem for file in (ROOT / "behest_core").glob("[!_]*.py"))


def test_the_core_imports_no_aws_library():
    imports = ", ".join(f"behest_core.{module}" for module in PURE)
    of_aws = "{'boto3', 'botocore', 'aws_lambda_powertools'}"
    program = (
        f"import sys, {imports}; sys.exit(repr({of_aws} & set(sys.modules)) if {of_aws} & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_core_imports_nothing_of_the_rest():
    imports = ", ".join(f"behest_core.{module}" for module in PURE)
    program = f"import sys, {imports}; print(*(name for name in sys.modules if name.startswith('behest_core.')))"
    run = subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True, text=True)
    assert {*run.stdout.split()} == {f"behest_core.{module}" for module in PURE}


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
