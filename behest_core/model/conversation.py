"""What models were sent, told in the log by what is new, and read back whole. Pure.

A conversation grows: each request holds the messages of one before it, and some more. So `Told` gives for each request the
earlier one that it has most in common with, and the messages behind that; `Requests` puts them together again. System
instructions and tool definitions are told in full once in a run, and by their hash afterwards.

Messages are compared as JSON. Which request another one follows is said in the event: never is it the latest.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from behest_core.model.agent_events import ModelRequested
from behest_core.model.cache import BoundedCache
from behest_core.model.json import JSON

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_REMEMBERED: Final = 16
"""With how many earlier requests of a run the next one is compared: as many agents may take turns in it."""

_MESSAGES: Final = 50_000
"""How many messages' hashes are kept of them, at most: 4 MB."""

_ONCE_TOLD_BYTES: Final = 64 * 1024
"""What is kept of hashes of instructions and tools: of some hundred. What was forgotten is told in full again."""

_EVENT_BYTES: Final = 256 * 1024
"""How much JSON of messages one event gets; what is more goes on in another."""

_Digest: TypeAlias = bytes


class Request(Struct, frozen=True):
    """What a model was sent. `is_whole` is false where the log lacks a part of it."""

    model_call_id: str
    message_format: str
    messages: list[JSON]
    system_instructions: JSON = None
    tool_definitions: JSON = None
    parameters: JSON = None
    is_whole: bool = True


class Told:
    """What the log of a run says already, for the requests that are to come.

    It keeps hashes of the latest requests' messages. A request that has nothing in common with those is told in full.
    """

    def __init__(self) -> None:
        self._requests: deque[tuple[str, list[_Digest]]] = deque(maxlen=_REMEMBERED)
        self._once_told: BoundedCache[None] = BoundedCache(_ONCE_TOLD_BYTES)

    def events(  # noqa: PLR0913 (what a model is sent)
        self,
        model_call_id: str,
        message_format: str,
        messages: Sequence[JSON],
        *,
        system_instructions: JSON = None,
        tool_definitions: JSON = None,
        parameters: JSON = None,
        timestamp: str,
        step_id: str | UnsetType = UNSET,
    ) -> Iterator[ModelRequested]:
        """Return the events that tell a request: one, or several where it is large."""
        encoded = [msgspec.json.encode(each) for each in messages]
        digests = [sha256(each).digest()[:16] for each in encoded]
        follows, kept = self._closest(digests)
        self._remember(model_call_id, digests)
        parts = _parts(encoded, kept)
        for first, last in parts:
            event = ModelRequested(
                model_call_id=model_call_id,
                message_format=message_format,
                message_count=last,
                follows=follows,
                kept=first,
                messages=list(messages[first:last]),
                timestamp=timestamp,
                step_id=step_id,
            )
            if first == kept:
                event.system_instructions, event.system_instructions_hash = self._once(system_instructions)
                event.tool_definitions, event.tool_definitions_hash = self._once(tool_definitions)
                event.parameters = UNSET if parameters is None else parameters
            yield event
            follows = model_call_id

    def _closest(self, digests: list[_Digest]) -> tuple[str | UnsetType, int]:
        """Return the request that begins most like this one, the latest of several, and how many messages they share."""
        most, closest = 0, None
        for model_call_id, before in self._requests:
            shared = _shared(before, digests)
            if shared and shared >= most:
                most, closest = shared, model_call_id
        return (UNSET, 0) if closest is None else (closest, most)

    def _remember(self, model_call_id: str, digests: list[_Digest]) -> None:
        self._requests.append((model_call_id, digests))
        while len(self._requests) > 1 and sum(len(each) for _, each in self._requests) > _MESSAGES:
            self._requests.popleft()

    def _once(self, value: JSON) -> tuple[JSON | UnsetType, str | UnsetType]:
        if value is None:
            return UNSET, UNSET
        known_as = hash_of(value)
        if known_as in self._once_told:
            return UNSET, known_as
        self._once_told.put(known_as, None)
        return value, known_as


class Requests:
    """The requests of a run as its log tells them, in order of their first event."""

    def __init__(self) -> None:
        self.by_call: dict[str, Request] = {}
        self._values: dict[str, JSON] = {}

    def add(self, event: ModelRequested) -> Request:
        """Take the next event of the log; return the request as far as it is told."""
        so_far = self.by_call.get(event.model_call_id)
        before = None if event.follows is UNSET else self.by_call.get(event.follows)
        shared = [] if before is None else before.messages[: event.kept]
        new = [] if event.messages is UNSET else event.messages
        request = Request(
            event.model_call_id,
            event.message_format,
            [*shared, *new],
            system_instructions=self._value(event.system_instructions, event.system_instructions_hash),
            tool_definitions=self._value(event.tool_definitions, event.tool_definitions_hash),
            parameters=None if event.parameters is UNSET else event.parameters,
            is_whole=len(shared) + len(new) == event.message_count
            and (before is None or before.is_whole)
            and self._knows(event.system_instructions_hash)
            and self._knows(event.tool_definitions_hash),
        )
        if so_far is not None:
            request = _continued(so_far, request)
        self.by_call[event.model_call_id] = request
        return request

    def _value(self, value: JSON | UnsetType, known_as: str | UnsetType) -> JSON:
        if known_as is UNSET:
            return None
        if value is not UNSET:
            self._values[known_as] = value
        return self._values.get(known_as)

    def _knows(self, known_as: str | UnsetType) -> bool:
        return known_as is UNSET or known_as in self._values


def _continued(so_far: Request, more: Request) -> Request:
    """Return a request whose other event tells more messages of it: all else was told by the first."""
    return msgspec.structs.replace(so_far, messages=more.messages, is_whole=so_far.is_whole and more.is_whole)


def hash_of(value: JSON) -> str:
    """Return the hash under which a value is known in a log: SHA-256 of its JSON, with sorted keys; 32 hexadecimal digits."""
    return sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:32]


def _shared(before: list[_Digest], now: list[_Digest]) -> int:
    shared = 0
    for one, other in zip(before, now, strict=False):
        if one != other:
            break
        shared += 1
    return shared


def _parts(encoded: list[bytes], kept: int) -> list[tuple[int, int]]:
    """Return which messages behind the first `kept` go into one event each: (first, behind the last)."""
    parts, first, size = [], kept, 0
    for place in range(kept, len(encoded)):
        if size and size + len(encoded[place]) > _EVENT_BYTES:
            parts.append((first, place))
            first, size = place, 0
        size += len(encoded[place])
    return [*parts, (first, len(encoded))]
