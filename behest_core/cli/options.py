"""The arguments and options that several commands share."""

from typing import Annotated, TypeAlias

import typer

Stack: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The CloudFormation stack whose tables to use. Without it they are named by BEHEST_EVENT_TABLE and "
        "BEHEST_STATE_TABLE.",
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON lines.")]
Run: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]
File: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="JSON lines, one run in each; gzip's if it ends in .gz. - is standard input.",
        show_default=False,
    ),
]
SkipInvalid: TypeAlias = Annotated[
    bool, typer.Option("--skip-invalid", help="Report a line that is refused, count it, and go on.")
]
