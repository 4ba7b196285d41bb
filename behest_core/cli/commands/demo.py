"""`behest demo`: agents write runs, the stack folds them, and queries answer; all of it in this process.

Everything is what would be deployed, the tables from template.yaml, the projector's own handler and its settings; only DynamoDB
is moto's, and Lambda is a model of its stream mapping. No account, no configuration, nothing leaves the machine.
"""

from __future__ import annotations

from typing import Annotated

import typer

from behest_core.cli.arguments import CommandError


def demo(
    *,
    ui: Annotated[
        bool, typer.Option("--ui", help="Open a page of the runs in the browser while the agents write, until Ctrl-C.")
    ] = False,
) -> None:
    """Run twelve scripted agents and the whole stack on this machine, for about 15 seconds.

    It needs no AWS account, no Docker and no configuration. With behest-strands, a real agent of Strands runs too.
    """
    try:
        from behest_core.demo.show import run_demo  # noqa: PLC0415 (needs the extra `testing`)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("behest_core"):
            raise
        raise CommandError(f"the demo needs {error.name}; run: pip install 'behest-core[cli,testing]'") from error
    try:
        run_demo(with_page=ui)
    except ModuleNotFoundError as error:
        if not ui or (error.name or "").startswith("behest_core"):
            raise
        raise CommandError(f"the page needs {error.name}; run: pip install 'behest-core[cli,testing,web]'") from error
