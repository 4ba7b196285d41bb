"""docs/guarantees.md and SECURITY.md name the tests of each promise, and they are there."""

from __future__ import annotations

import re

import pytest

from behest_core.testing.cloudformation import CloudFormationTemplate
from behest_core.testing.template import template_path
from tests.docs.pages import ROOT, names, prose, rows

PAGE = "docs/guarantees.md"
TESTS = ("tests/", "plugins/")
PROMISES = rows(PAGE, "Promise", "Rests on", "Tested in") + rows("SECURITY.md", "Promise", "How", "Tested in")
PARAMETERS = CloudFormationTemplate.load(template_path(), "behest", {}).section("Parameters")


@pytest.mark.parametrize("promise", PROMISES, ids=lambda row: row["Promise"][:40])
def test_a_promise_names_tests(promise):
    named = names(promise["Tested in"])
    assert named
    assert [name for name in named if not name.startswith(TESTS)] == []


@pytest.mark.parametrize(
    "name", sorted({name for page in (PAGE, "SECURITY.md") for name in names(prose(page)) if name.startswith(TESTS)})
)
def test_the_tests_that_are_named_are_there(name):
    place = ROOT / name
    tests = [place] if place.is_file() else [*place.glob("**/test_*.py")]
    assert tests
    assert any("def test_" in file.read_text() or "behaviours" in file.read_text() for file in tests)


@pytest.mark.parametrize("rule", sorted({int(number) for number in re.findall(r"rules? (\d+)", prose(PAGE))}))
def test_the_rules_that_are_named_are_numbered_so(rule):
    assert re.search(rf"^{rule}\. \*\*", prose("docs/architecture.md"), re.MULTILINE)


def test_times_are_the_templates():
    times = {
        row["What happened"]: row["Within, by default"]
        for row in rows(PAGE, "What happened", "What makes it right", "Within, by default")
    }
    assert times["nothing"].startswith(
        f"the batching window, {PARAMETERS['MaximumBatchingWindowInSeconds']['Default']} s"
    )
    [sweep] = [what for what in times if "sweep" not in what and "hours" in what]
    assert f"within {PARAMETERS['SweepLookbackHours']['Default']} hours" in sweep
    assert (times[sweep], PARAMETERS["SweepSchedule"]["Default"]) == ("an hour", "rate(1 hour)")
