"""What behest loads: the command `behest otel`. It has nothing to fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.plugins import hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def behest_commands(app: typer.Typer) -> None:
    """Add ``behest otel``."""
    from behest_otel.command import export_spans  # noqa: PLC0415 (only the command line has typer)

    app.command("otel")(export_spans)
