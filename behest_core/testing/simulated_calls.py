"""Calls of services that the local stack answers itself, instead of moto. They never leave the process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Answer: TypeAlias = "tuple[AWSResponse, dict[str, Any]]"


class Answers(Protocol):
    """Answers a call, or returns None for moto to answer it."""

    def __call__(self, params: dict[str, Any], **_: object) -> Answer | None:
        """Return what the service would answer to the request, as botocore is about to send it."""


@contextmanager
def simulated_calls(answers: Mapping[str, Answers]) -> Iterator[None]:
    """Let clients that are made while the context lasts be answered here, by ``service.Operation``."""
    create_client = Session.create_client

    def client(session: Session, service: str, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 (botocore's)
        made: Any = create_client(session, service, *arguments, **settings)
        for operation, answer in answers.items():
            if operation.startswith(f"{service}."):
                made.meta.events.register(f"before-call.{operation}", answer)
        return made

    with patch.object(Session, "create_client", client):
        yield


def answer(parsed: dict[str, Any], status: int = 200) -> Answer:
    """Return an answer as botocore has parsed it."""
    return AWSResponse("", status, HTTPHeaders(), None), parsed


def refusal(code: str, message: str) -> Answer:
    """Return the answer that makes botocore raise a ClientError."""
    return answer({"Error": {"Code": code, "Message": message}}, 400)
