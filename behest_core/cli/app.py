"""All commands of `behest`, and how any of them ends: quietly when it is interrupted, with one line when it fails."""

import os
import sys
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from behest_core.cli.commands.delete_runs import delete_runs
from behest_core.cli.commands.demo import demo
from behest_core.cli.commands.export_runs import export_runs
from behest_core.cli.commands.fold_lines import fold_lines
from behest_core.cli.commands.import_runs import import_runs
from behest_core.cli.commands.list_events import list_events
from behest_core.cli.commands.list_plugins import list_plugins
from behest_core.cli.commands.list_runs import list_runs
from behest_core.cli.commands.new_plugin import new_plugin
from behest_core.cli.commands.rebuild_runs import rebuild_runs
from behest_core.cli.commands.resume_runs import resume_runs
from behest_core.cli.commands.show_run import show_run
from behest_core.cli.commands.verify_runs import verify_runs
from behest_core.cli.failures import explain
from behest_core.cli.plugin_commands import plugin_commands
from behest_core.terminal import say

_PLUGINS: Final = "behest.commands of plugins"
_FAILED: Final = 1
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count
_READER_GONE: Final = 141  # 128 + SIGPIPE


class _Commands(TyperGroup):
    """behest's commands, and behind them those of plugins."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 (typer's context has no public type)
        """Name all commands, for the help page."""
        return [*super().list_commands(ctx), *self._of_plugins(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Return a command; plugins are looked at only where behest has none of the name."""
        own = super().get_command(ctx, cmd_name)
        return own if own is not None else self._of_plugins(ctx).get(cmd_name)

    def _of_plugins(self, ctx: Any) -> dict[str, Any]:  # noqa: ANN401
        if _PLUGINS not in ctx.meta:
            ctx.meta[_PLUGINS] = plugin_commands(self.commands)
        found: dict[str, Any] = ctx.meta[_PLUGINS]
        return found

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (typer's context has no public type)
        """Run a command; turn the errors that a user can do something about into one line."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _forget_output()
            raise typer.Exit(_READER_GONE) from None
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
        except Exception as error:
            line = explain(error)
            if line is None:
                raise
            say(line)
            raise typer.Exit(_FAILED) from error
        return result


def _forget_output() -> None:
    """Send what is still buffered nowhere; Python would complain about it when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=_Commands,
    name="behest",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"behest {version('behest-core')}\n")
        raise typer.Exit


@app.callback()
def behest(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Agent runs on DynamoDB: their logs, and what they fold to.

    Credentials, region and endpoint are those of the AWS CLI: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and so on.
    """


app.command("demo")(demo)
app.command("runs")(list_runs)
app.command("show")(show_run)
app.command("events")(list_events)
app.command("fold")(fold_lines)
app.command("import")(import_runs)
app.command("export")(export_runs)
app.command("verify")(verify_runs)
app.command("resume")(resume_runs)
app.command("rebuild")(rebuild_runs)
app.command("delete")(delete_runs)
app.command("plugins")(list_plugins)
_plugin = typer.Typer(no_args_is_help=True, help="Write a plugin.")
_plugin.callback()(lambda: None)
_plugin.command("new")(new_plugin)
app.add_typer(_plugin, name="plugin")
