"""`behest lineage`: a run's tree, with its tokens added up."""

from typing import Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from behest_core.cli.extending import AsJson, Run, Stack, store_of, write_json
from behest_core.model.limits import check_run_id
from behest_core.terminal import clean, results, write_result
from behest_core.wording import count_text
from behest_lineage.tree import Node, read_tree


def show_tree(
    run: Run,
    *,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Look at all runs, not only at those of the tree's sessions.")
    ] = False,
    as_json: AsJson = False,
    stack: Stack = None,
) -> None:
    """Show the tree of runs that a run is in, with the tokens of each branch."""
    check_run_id(run)
    root = read_tree(store_of(stack), run, everywhere=everywhere)
    if as_json:
        write_json(root)
        return
    tree = Tree(_line(root, run))
    pending = [(root, tree)]
    while pending:
        node, branch = pending.pop()
        pending += [(child, branch.add(_line(child, run))) for child in node.children]
    write_result(results(), tree)


def _line(node: Node, asked_for: str) -> Text:
    parts = [clean(node.agent)] if node.agent else []
    parts.append(node.status or "not found")
    parts.append(f"{count_text(node.own.total_tokens)} tokens")
    if node.children:
        parts.append(f"{count_text(node.all.total_tokens)} in all {count_text(node.runs)} runs")
    name = Text(clean(node.run_id), style="bold" if node.run_id == asked_for else "")
    return Text.assemble(name, "  ", ", ".join(parts))
