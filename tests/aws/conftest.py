from __future__ import annotations

import sys
from importlib import invalidate_caches
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from behest_core.dynamodb import items
from behest_core.testing import LocalStack
from tests.builders import record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from behest_core.model.commit import Commit


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with LocalStack() as local:
        yield local


@pytest.fixture
def put(stack: LocalStack) -> Callable[..., list[dict[str, Any]]]:
    """Put commits into the event table as they are, and return their stream records."""

    def put(*commits: Commit) -> list[dict[str, Any]]:
        for each in commits:
            stack.dynamodb.put_item(TableName=stack.event_table, Item=items.commit_to_item(each))
        return [record_of(each) for each in commits]

    return put


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install plugins, as pip would, for one test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(**plugins: str) -> None:
        for name, code in plugins.items():
            module = f"behest_{name}"
            monkeypatch.delitem(sys.modules, module, raising=False)
            (tmp_path / f"{module}.py").write_text(dedent(code))
            info = tmp_path / f"{module}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(f"[behest]\n{name} = {module}\n")
        # what is in a folder is remembered by the folder's time, which may not have moved on since it was looked into
        invalidate_caches()

    return install


@pytest.fixture
def requests(stack: LocalStack) -> Requests:
    """Return the requests that the stack's client makes from now on."""
    return Requests(stack.dynamodb)


class Requests:
    """Counts a client's requests by operation, and lets a test do things before one is answered, or lose its answer."""

    def __init__(self, client: Any) -> None:
        self.made: list[tuple[str, dict[str, Any]]] = []
        self._client = client
        self._call = client._make_api_call
        self._before: list[tuple[str, Callable[[], object]]] = []
        self._after: list[tuple[str, Callable[[], object]]] = []
        self._lost: list[str] = []
        client._make_api_call = self._make_api_call

    def _make_api_call(self, operation: str, params: dict[str, Any]) -> Any:
        self.made.append((operation, params))
        for planned in [each for each in self._before if each[0] == operation]:
            self._before.remove(planned)
            planned[1]()
        answer = self._call(operation, params)
        for planned in [each for each in self._after if each[0] == operation]:
            self._after.remove(planned)
            planned[1]()
        if operation in self._lost:
            self._lost.remove(operation)
            # what the SDK does when no answer comes: the same request again
            return self._make_api_call(operation, params)
        return answer

    def before(self, operation: str, action: Callable[[], object]) -> None:
        """Do something once, just before the next such request reaches DynamoDB."""
        self._before.append((operation, action))

    def after(self, operation: str, action: Callable[[], object]) -> None:
        """Do something once, when DynamoDB has done the next such request, before it is answered."""
        self._after.append((operation, action))

    def lose_answer_of(self, operation: str) -> None:
        """Let the next such request succeed unheard, and be repeated."""
        self._lost.append(operation)

    def named(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.made if name == operation]
