"""`behest ui`: the page, on this machine, for whoever has the link."""

import threading
import webbrowser
from typing import Annotated

import typer

from behest_core.cli import aws
from behest_core.cli.arguments import CommandError, Stack
from behest_core.plugins.loading import allowed_by_environment, load
from behest_core.terminal import say, write_text


def serve_page(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 for a free one.")] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open the page in the browser.")
    ] = True,
    stack: Stack = None,
) -> None:
    """Show runs as a page in the browser, served on this machine alone.

    It reads the tables with your AWS credentials, and only reads. The link has a token: nobody else on this machine can open it.
    """
    try:
        from behest_core.web.application import App  # noqa: PLC0415 (needs the extra `web`)
        from behest_core.web.server import served  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("behest_core"):
            raise
        raise CommandError(f"the page needs {error.name}; run: pip install 'behest-core[cli,web]'") from error
    plugins = load(allowed_by_environment())
    for plugin in plugins.refused:
        say(f"plugin {plugin.name} is not used: {plugin.refused}")
    store = aws.connect(stack)
    store.check_health()
    try:
        with served(App(store, plugins, stack), port) as page:
            write_text(page.url)
            say("the page is at this link until Ctrl-C")
            if browser:
                threading.Thread(target=webbrowser.open, args=(page.url,), daemon=True).start()
            page.thread.join()
    except OSError as error:
        raise CommandError(f"port {port} can't be used: {error.strerror}; leave --port out for a free one") from error
