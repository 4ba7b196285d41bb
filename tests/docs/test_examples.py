"""Every example of the documentation runs, and prints what it says it prints."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import ROOT, blocks, pages

if TYPE_CHECKING:
    from behest_core.testing.local_stack import LocalStack
    from tests.docs.pages import Block


@pytest.mark.parametrize("page", [page for page in pages() if blocks(page, "python")])
def test_the_python_of_a_page_runs_and_prints_what_is_shown(page: str, stack: LocalStack):
    namespace: dict[str, Any] = {"__name__": page}
    with stack.running():
        for block in blocks(page, "python"):
            printed = run(block, namespace)
            if block.output is not None:
                assert (str(block), block.output) == (str(block), printed)


def run(block: Block, namespace: dict[str, Any]) -> str:
    """Run a block as if its page were a module, so that a traceback names the page's line."""
    code = compile("\n" * (block.line - 1) + block.text, ROOT / block.page, "exec", dont_inherit=True)
    with redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)
    return printed.getvalue()
