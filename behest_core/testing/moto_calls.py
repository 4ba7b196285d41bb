"""moto, made safe for threads and reachable over HTTP.

moto answers a call of boto3 inside the process, in the calling thread, without a lock: of two threads that put the same
item on condition that it doesn't exist, both may be told that they did (seen with moto 5.2.5). All its answers come
from one function, so `serialised_moto` holds one lock around that function: each call happens as a whole, before or
after each other one, as DynamoDB's do.

`serve_moto` offers the same tables at an HTTP endpoint on 127.0.0.1, for other processes. It answers through the same
function, under the same lock. moto's own server would listen to the whole network unless told otherwise, needs Flask,
and would not take part in the lock.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from unittest.mock import patch

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto.core.models import botocore_stubber

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moto.core.common_types import TYPE_RESPONSE

_lock = threading.RLock()
_CREDENTIAL = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_REQUEST_TIMEOUT_SECONDS = 30


@contextmanager
def serialised_moto() -> Iterator[None]:
    """Let moto answer one call at a time. May be nested."""
    answer = botocore_stubber.process_request

    def answer_alone(request: AWSPreparedRequest) -> TYPE_RESPONSE | None:
        with _lock:
            return answer(request)

    with patch.object(botocore_stubber, "process_request", answer_alone):
        yield


@contextmanager
def serve_moto() -> Iterator[str]:
    """Answer calls over HTTP while the context lasts, and yield the endpoint's URL.

    It listens on a free port of 127.0.0.1. Leaving the context stops it.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="moto-endpoint", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Endpoint(BaseHTTPRequestHandler):
    """One HTTP request, passed to moto as if boto3 had sent it to AWS itself."""

    timeout = _REQUEST_TIMEOUT_SECONDS

    def do_POST(self) -> None:
        """Answer any call: all of AWS's own that matter here are POST."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        host = self._host()
        answered: TYPE_RESPONSE | None = None
        reason = "this endpoint answers signed calls to services that moto knows"
        try:
            if host is not None:
                answered = botocore_stubber.process_request(self._request(host, body))
        except Exception as error:  # noqa: BLE001 - the caller is to hear of it, and not to try again
            reason = f"{type(error).__name__}: {error}"
        self._send(answered or (400, {}, json.dumps({"__type": "UnknownOperationException", "message": reason})))

    do_GET = do_POST  # noqa: N815 - http.server's name, as is the other one

    def _host(self) -> str | None:
        """Return the host of AWS that the request is for: its signature names service and region."""
        credential = _CREDENTIAL.search(self.headers.get("Authorization", ""))
        if credential is None:
            return None
        # DynamoDB and its streams sign with one name; the operation tells them apart.
        streams = "streams." if self.headers.get("X-Amz-Target", "").startswith("DynamoDBStreams") else ""
        return f"{streams}{credential['service']}.{credential['region']}.amazonaws.com"

    def _request(self, host: str, body: bytes) -> AWSPreparedRequest:
        headers = HTTPHeaders()
        for name, value in self.headers.items():
            headers[name] = value
        headers.replace_header("Host", host)
        return AWSPreparedRequest(self.command, f"https://{host}{self.path}", headers, body, stream_output=False)

    def _send(self, answered: TYPE_RESPONSE) -> None:
        status, headers, body = answered
        payload = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "content-length", "date", "server", "transfer-encoding"):
                self.send_header(name, str(value))
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_args: object) -> None:
        """Write no access log: it would go to the demo's screen."""
