"""Asks the page's routes without a server, as a Lambda function's resolver does."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from aws_lambda_powertools.event_handler import HttpResolverLocal

from behest_core.web.application import App, add_routes


class Got(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Pages:
    """The page over a stack's tables."""

    def __init__(self, app: App) -> None:
        self._resolver = HttpResolverLocal()
        add_routes(self._resolver, app)

    def get(self, address: str, **headers: str) -> Got:
        parts = urlsplit(address)
        query = parse_qs(parts.query, keep_blank_values=True)
        event: dict[str, Any] = {
            "httpMethod": "GET",
            "path": parts.path,
            "headers": {name.replace("_", "-"): value for name, value in headers.items()},
            "queryStringParameters": {name: values[-1] for name, values in query.items()},
            "multiValueQueryStringParameters": query,
            "requestContext": {},
            "body": None,
        }
        answer = self._resolver.resolve(event, None)
        return Got(answer["statusCode"], {k.lower(): v for k, v in answer["headers"].items()}, answer["body"])


class Tags(HTMLParser):
    """What a page's HTML consists of: tags with their attributes, and what text is shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
