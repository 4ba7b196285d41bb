"""Clients of DynamoDB whose requests never leave the process: they are kept, and answered with what a test says."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from behest_core.dynamodb.client import make_client

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


ACCOUNT = "123456789012"


class Answering:
    """A client, and what it was last asked. It is botocore's own with `as_botocore`, else the one that behest makes."""

    def __init__(
        self, *, as_botocore: bool = False, retry_mode: str = "standard", config: Config | None = None
    ) -> None:
        once = Config(retries={"mode": retry_mode, "total_max_attempts": 1})  # type: ignore[arg-type, typeddict-item]
        config = once.merge(config) if config else once
        create = _session().client
        self.client: DynamoDBClient = create("dynamodb", config=config) if as_botocore else make_client(create, config)
        self.asked: Any = None
        self.answer(b"{}")
        self.client.meta.events.register("before-send.dynamodb", self._send)

    def answer(self, body: bytes, *, status: int = 200, checksum: int | None = None) -> None:
        """Answer with this from now on. `checksum` is the body's CRC32 unless it is another one."""
        self._answer = status, body, crc32(body) if checksum is None else checksum

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        self.asked = request
        status, body, checksum = self._answer
        headers = {"x-amzn-requestid": "id", "x-amz-crc32": str(checksum), "content-length": str(len(body))}
        return AWSResponse(request.url, status, headers, _Body(body))


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content


@cache
def _session() -> boto3.session.Session:
    return boto3.session.Session("key", "secret", region_name="eu-west-1", aws_account_id=ACCOUNT)
