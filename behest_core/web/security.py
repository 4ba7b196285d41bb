"""What keeps a page that shows hostile text from doing anything, and what keeps others from the local server.

- The content security policy lets nothing load but this server's own style sheet, modules and pictures: no inline script or
  style, no frame around it, no form to elsewhere, nothing from a third party.
- The local server answers to whoever has its token. It is in the link that `behest ui` prints, and leaves the address with the
  first load: a cookie takes its place, which no script can read and no other site sends along.
- It answers only to its own name. A site that points its name at 127.0.0.1 (DNS rebinding) sends another Host.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from behest_core.web.pages import render

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Asgi = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_COOKIE: Final = "behest"
_LONGEST: Final = 64 * 1024
"""How long an address may be, in bytes. Every page's are far shorter."""


class Local:
    """An ASGI application for one person on this machine: it asks for the token, and for its own name."""

    def __init__(self, inner: Asgi, token: str, port: int) -> None:
        self._inner = inner
        self._token = token
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._cookie = f"{_COOKIE}{port}"

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:  # noqa: ANN401 (ASGI's)
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        headers = dict(scope["headers"])
        query = scope.get("query_string", b"")
        if len(scope.get("raw_path", b"")) + len(query) > _LONGEST:
            await _send(send, 414, _page("414", "the address is too long; ask for less at once"))
        elif headers.get(b"host") not in self._hosts:
            await _send(send, 421, _page("421", "this page answers to 127.0.0.1 and localhost only"))
        elif scope["method"] != "GET":
            await _send(send, 405, _page("405", "this page only reads"))
        elif (given := dict(parse_qsl(query.decode("latin-1"))).get("token")) is not None and self._is(given):
            await self._let_in(scope, send)
        elif self._is(self._known(headers.get(b"cookie", b""))):
            await self._inner(scope, receive, send)
        else:
            await _send(send, 403, _page("403", "open the link that behest ui printed: it has this session's token"))

    def _is(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())

    def _known(self, cookies: bytes) -> str:
        try:
            found = SimpleCookie(cookies.decode("latin-1")).get(self._cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value

    async def _let_in(self, scope: Scope, send: Any) -> None:  # noqa: ANN401
        """Put the token into a cookie, and take it out of the address."""
        rest = [pair for pair in parse_qsl(scope["query_string"].decode("latin-1")) if pair[0] != "token"]
        path = "/" + scope["path"].lstrip("/\\")  # never another host's
        to = path + (f"?{urlencode(rest)}" if rest else "")
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        await _send(send, 303, b"", {"Location": to.encode("ascii", "ignore").decode(), "Set-Cookie": cookie})


def _page(title: str, reason: str) -> bytes:
    return render("error.html", title=title, reason=reason).encode()


async def _send(send: Any, status: int, body: bytes, more: dict[str, str] | None = None) -> None:  # noqa: ANN401 (ASGI's)
    headers = {**HEADERS, "Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body)), **(more or {})}
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
