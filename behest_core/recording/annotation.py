"""What somebody notes of a run: the event, checked for what its state item can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from behest_core.errors import InvalidValueError
from behest_core.model.agent_events import Annotated
from behest_core.model.json import check_storable
from behest_core.model.limits import ANNOTATIONS_BYTES, stored_size
from behest_core.model.timestamps import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from behest_core.model.json import JSON


def annotation(tags: Iterable[str], metadata: Mapping[str, JSON] | None) -> Annotated:
    """Return the event. Raises InvalidValueError, naming the path, where it can't be stored."""
    if isinstance(tags, str):
        raise InvalidValueError("tags", "expected a list of texts, got one text")
    noted: dict[str, JSON] = {"tags": [*tags], "metadata": dict(metadata or {})}
    for name, value in noted.items():
        check_storable(value, name)
    size = sum(map(stored_size, noted.values()))
    if size > ANNOTATIONS_BYTES:
        raise InvalidValueError("annotation", f"is {size:,} bytes, a run has room for {ANNOTATIONS_BYTES:,} of them")
    return Annotated(tags=[*tags] or UNSET, metadata=dict(metadata) if metadata else UNSET, timestamp=now())
