"""All commands of `behest`, and how any of them ends: quietly when it is interrupted, with one line when it fails.

Ctrl-C and SIGTERM end a command in order: what is being worked on is finished, and where that matters the command says how far
it has come. A second one ends it at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from behest_core.terminal import say

_OWN: Final = {
    "demo": "demo:demo",
    "runs": "list_runs:list_runs",
    "show": "show_run:show_run",
    "events": "list_events:list_events",
    "transcript": "show_transcript:show_transcript",
    "ui": "serve_page:serve_page",
    "fold": "fold_lines:fold_lines",
    "import": "import_runs:import_runs",
    "export": "export_runs:export_runs",
    "verify": "verify_runs:verify_runs",
    "resume": "resume_runs:resume_runs",
    "rebuild": "rebuild_runs:rebuild_runs",
    "delete": "delete_runs:delete_runs",
    "plugins": "list_plugins:list_plugins",
    "plugin": "new_plugin:plugin",
}
"""behest's commands: each is a function of a module in `commands`, or a group of them. Only what is asked for is imported."""

_PLUGINS: Final = "behest.commands of plugins"
_FAILED: Final = 1
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count
_READER_GONE: Final = 141  # 128 + SIGPIPE
_TERMINATED: Final = 143  # 128 + SIGTERM


class Terminated(BaseException):
    """The process was sent SIGTERM. Like KeyboardInterrupt it is no Exception: what handles errors does not catch it."""


class _Commands(TyperGroup):
    """behest's commands, and behind them those of plugins."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 (typer's context has no public type)
        """Name all commands, for the help page."""
        return [*_OWN, *self._of_plugins(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Return a command; plugins are looked at only where behest has none of the name."""
        return _own(cmd_name) if cmd_name in _OWN else self._of_plugins(ctx).get(cmd_name)

    def _of_plugins(self, ctx: Any) -> dict[str, Any]:  # noqa: ANN401
        if _PLUGINS not in ctx.meta:
            ctx.meta[_PLUGINS] = plugin_commands(_OWN)
        found: dict[str, Any] = ctx.meta[_PLUGINS]
        return found

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (typer's context has no public type)
        """Run a command; turn the errors that a user can do something about into one line."""
        try:
            with _sigterm_raises():
                result = super().invoke(ctx)
                sys.stdout.flush()
        except BrokenPipeError:
            _forget_output()
            raise typer.Exit(_READER_GONE) from None
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
        except Terminated:
            raise typer.Exit(_TERMINATED) from None
        except Exception as error:
            from behest_core.cli.aws import explain  # noqa: PLC0415 (botocore, which not every command needs)

            line = explain(error)
            if line is None:
                raise
            say(line)
            raise typer.Exit(_FAILED) from error
        return result


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise Terminated, once, while the context lasts."""

    def terminate(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def plugin_commands(taken: Collection[str]) -> dict[str, Any]:
    """Return the commands of the plugins that BEHEST_PLUGINS allows, by name; say which can't be used, and why.

    `taken` are the names that behest's own commands have. Nothing of a plugin is imported before one of its commands, or the
    help page, is asked for.
    """
    from behest_core.plugins.loading import allowed_by_environment, load  # noqa: PLC0415 (most commands need no plugins)

    commands: dict[str, Any] = {}
    allowed = allowed_by_environment()
    if not allowed:
        return commands
    plugins = load(allowed)
    for plugin in plugins.refused:
        say(f"plugin {plugin.name} is not used: {plugin.refused}")
    for plugin in plugins.used:
        for add in plugin.commands:
            app = typer.Typer()
            try:
                add(app)
                found = typer.main.get_group(app).commands
            except Exception as error:  # noqa: BLE001 (a plugin's hook may raise anything)
                say(f"the commands of plugin {plugin.name} are not used: behest_commands raised {error!r}")
                continue
            for name in sorted(found):
                if name in taken or name in commands:
                    say(f"command {name} of plugin {plugin.name} is not used: there is one of that name already")
                else:
                    commands[name] = _with_errors_told(found[name])
    return commands


def _with_errors_told(command: Any) -> Any:  # noqa: ANN401 (typer's commands have no public type)
    """Let a plugin's command that raises ValueError end as one that raises CommandError: what it was asked to do won't do."""
    invoke = command.invoke

    def told(ctx: Any) -> Any:  # noqa: ANN401
        try:
            return invoke(ctx)
        except ValueError as error:
            from behest_core.cli.arguments import CommandError  # noqa: PLC0415 (as explain)

            raise CommandError(str(error)) from error

    command.invoke = told
    return command


def _forget_output() -> None:
    """Discard what is still buffered; Python would complain about it on exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_HOW: Final[dict[str, Any]] = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": "markdown",
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def _own(name: str) -> Any:  # noqa: ANN401 (typer's commands have no public type)
    """Import one of behest's own commands."""
    module, _, function = _OWN[name].partition(":")
    found = getattr(import_module(f"behest_core.cli.commands.{module}"), function)
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        alone = typer.Typer(**_HOW | {"no_args_is_help": False})
        alone.command()(found)
        command = typer.main.get_command(alone)
    command.name = name
    return command


app = typer.Typer(cls=_Commands, name="behest", **_HOW)


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
