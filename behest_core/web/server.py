"""The local server of `behest ui`: on 127.0.0.1, for whoever has the link that it prints."""

from __future__ import annotations

import secrets
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import uvicorn
from aws_lambda_powertools.event_handler import HttpResolverLocal

from behest_core.web.application import App, add_routes
from behest_core.web.security import Local

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST: Final = "127.0.0.1"
_STOP_SECONDS: Final = 5.0
_LONGEST_HEAD: Final = 16 * 1024 * 1024
"""How many bytes of a request's head are read, so that one that is too long gets an answer that says so."""


class Served(NamedTuple):
    """A page that is served. `url` is the link to open, with the token."""

    url: str
    thread: threading.Thread


@contextmanager
def served(app: App, port: int = 0) -> Iterator[Served]:
    """Serve the page while the context lasts, on a free port where none is given. Raises OSError where the port is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
        found: int = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        resolver = HttpResolverLocal()
        add_routes(resolver, app)
        config = uvicorn.Config(
            Local(resolver, token, found),
            http="h11",
            h11_max_incomplete_event_size=_LONGEST_HEAD,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="behest-ui", daemon=True)
        thread.start()
        try:
            yield Served(f"http://{HOST}:{found}/?token={token}", thread)
        finally:
            server.should_exit = True
            thread.join(_STOP_SECONDS)
