"""docs/recording.md: the adapter of one's own has tests, and they pass. What else is on the page runs in test_examples.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from behest_core.recording import adapter
from behest_core.recording.process import unfinished
from tests.docs.pages import blocks, names, part, rows

if TYPE_CHECKING:
    from behest_core.testing.local_stack import LocalStack

PAGE = "docs/recording.md"
[TESTS] = blocks(PAGE, "py")
[ADAPTER] = [block for block in blocks(PAGE, "python") if "class RecordedAgent" in block.text]
TEST_NAMES = [line.split("(")[0].removeprefix("def ") for line in TESTS.text.splitlines() if line.startswith("def ")]


@pytest.mark.parametrize("name", TEST_NAMES)
def test_the_tests_of_the_adapter_that_is_shown_pass(name: str, stack: LocalStack):
    namespace: dict[str, Any] = {}
    exec(ADAPTER.text.partition("\nagent = ")[0], namespace)
    exec(TESTS.text, namespace)
    namespace["END_WAIT"] = 0.1 if "away" in name else adapter.END_WAIT  # nobody sees how long it would have been
    namespace[name](stack)
    for writer in unfinished(stack.store.event_log):
        writer.close()


def test_what_the_adapter_is_made_with_is_there():
    said = part(PAGE, "## An adapter of your own").partition("```")[0]
    assert [name for name in names(said) if "." not in name and not hasattr(adapter, name)] == []


def test_the_settings_of_an_adapter_are_documented():
    said = {names(row["Setting"])[0] for row in rows(PAGE, "Setting", "Default", "Meaning")}
    assert said == {*adapter.RecorderSettings.__annotations__, "on_error"}
