"""From event classes and extensions to one compiled table: what is decoded how far, and who folds it.

Made once per process. What nobody listens to is read no further than its timestamp. With no extensions the table is the
reducer's alone.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from behest_core.errors import PluginError
from behest_core.fold.extension import HalfRead
from behest_core.fold.listening import Listening, Placed
from behest_core.fold.reducer import REDUCER, Handler
from behest_core.fold.slices import Slices
from behest_core.model.agent_events import CORE_EVENTS
from behest_core.model.decoding import CommitDecoder, EventDecoder, narrowed
from behest_core.model.events import AnyEvent, Event, UnknownEvent, type_name
from behest_core.model.limits import EXTENSION_BYTES, EXTENSIONS_BYTES, SLICE_BYTES, slice_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from behest_core.fold.extension import Extension
    from behest_core.model.state import RunState

    Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Dispatch:
    """The compiled table.

    `readers` are the classes that events are read into, by their own. `handlers` are the core's by class, `listeners` the
    extensions': by class, the place of the extension, the handler, and while what it is called. Either may be changed until
    something is folded.
    Raises PluginError where two claim one name or one type, or where a state item has no room for what all extensions begin with.
    """

    def __init__(
        self,
        extensions: Iterable[Extension] = (),
        event_types: Iterable[type[Event]] = (),
        upcasters: Mapping[str, Upcaster] | None = None,
    ) -> None:
        self.extensions = tuple(extensions)
        self.upcasters = dict(upcasters or {})
        self.listeners: dict[type, tuple[Placed, ...]] = _listeners(self.extensions)
        self.event_types = _by_type([*CORE_EVENTS, *event_types, *self.listeners])
        _check_names(self.extensions)
        _check_room(self.extensions)
        core = {each: narrowed(each, _reads(each)) for each in CORE_EVENTS}
        self.readers = {each: self._reader(each, core) for each in self.event_types.values()}
        self._core = EventDecoder(core.values())
        self._in_full = EventDecoder(self.readers.values())
        cast_up = {each for name, each in self.event_types.items() if name in self.upcasters and each in self.listeners}
        commits: CommitDecoder[AnyEvent | HalfRead] = CommitDecoder(
            (reader for each, reader in self.readers.items() if each not in cast_up), self._decode_one
        )
        self.decode = commits.decode
        """Decode a commit's events, up to the first that the core can't read; return what is wrong with that one, too."""
        self.handlers: dict[type, Handler] = {
            reader: change.handler
            for each, change in REDUCER.items()
            for reader in (each, self.readers[each], core[each])
        }

    def slices(self, run: RunState) -> Slices | None:
        """Return the slices of a run that is going to be folded, None where there are no extensions."""
        return Slices(run, self._listening) if self.extensions else None

    @cached_property
    def _listening(self) -> Listening:
        return Listening(self.extensions, self.listeners, self.handlers, Slices.tell, Slices.tell_half_read)

    def _reader(self, each: type[Event], core: Mapping[type[Event], type[Event]]) -> type[Event]:
        return each if each in self.listeners else core.get(each) or narrowed(each, ())

    def _decode_one(self, raw: bytes) -> AnyEvent | HalfRead:
        event = self._core.decode_one(raw)
        name = event.type if isinstance(event, UnknownEvent) else type_name(event.__class__)
        listened = self.event_types.get(name)
        if listened is None or listened not in self.listeners:
            return event
        try:
            if name in self.upcasters:
                return msgspec.convert(self.upcasters[name](msgspec.json.decode(raw)), listened)
            return self._in_full.decode_one(raw)
        except Exception as error:  # noqa: BLE001 (a plugin's upcaster may raise anything)
            return HalfRead(event, listened, error)


def _reads(each: type[Event]) -> tuple[str, ...]:
    return REDUCER[each].reads if each in REDUCER else ()


def _by_type(classes: Iterable[type[Event]]) -> dict[str, type[Event]]:
    by_type: dict[str, type[Event]] = {}
    for each in classes:
        if by_type.setdefault(type_name(each), each) is not each:
            raise PluginError(f"two event classes claim the type {type_name(each)}; one has to take another name")
    return by_type


def _listeners(extensions: tuple[Extension, ...]) -> dict[type, tuple[Placed, ...]]:
    found: dict[type, list[Placed]] = {}
    for place, extension in enumerate(extensions):
        for event_class, listeners in extension.listeners.items():
            found.setdefault(event_class, []).extend((place, *listener) for listener in listeners)
    return {event_class: tuple(each) for event_class, each in found.items()}


def _check_names(extensions: tuple[Extension, ...]) -> None:
    names = [extension.name for extension in extensions]
    for name in names:
        if names.count(name) > 1:
            raise PluginError(f"two extensions claim the name {name}; one has to take another")


def _check_room(extensions: tuple[Extension, ...]) -> None:
    """Refuse more than a state item has room for, so that each extension can at least be parked."""
    for each in extensions:
        size = slice_size(each.settling.blank)
        if size > EXTENSION_BYTES:
            raise PluginError(
                f"extension {each.name}: its state begins with {size:,} bytes, a slice has at most {EXTENSION_BYTES:,}"
            )
    total = sum(slice_size(each.settling.blank) + SLICE_BYTES for each in extensions)
    if total > EXTENSIONS_BYTES:
        raise PluginError(
            f"{len(extensions)} extensions begin with {total:,} bytes, a run's state has {EXTENSIONS_BYTES:,} for them; "
            "allow fewer plugins"
        )


CORE: Final = Dispatch()
"""The core alone, no plugins."""
