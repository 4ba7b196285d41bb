"""What models cost: the table that comes with the package, and users' own.

Prices are in USD per million tokens, with at most six decimals. A model is named ``provider/model``; a name that ends in ``*``
stands for all that begin so. The name itself comes before any ``*``, a longer ``*`` before a shorter one. Where the table has
neither, the model is looked for under its other names, see names.py.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec
from msgspec import Struct, field

from behest_core.errors import PluginError
from behest_core.model.cache import BoundedCache
from behest_cost.names import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_PICO: Final = 10**6
"""USD per million tokens times this is picodollars per token."""

_HIGHEST: Final = 10**6
_REMEMBERED_BYTES: Final = 256 * 1024
"""What the rates that a process remembers may take: of some hundred models. A model's name is whatever an event says."""


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """A model's price, in USD per million tokens.

    Without `cache_read` or `cache_write` such tokens cost what `input` does. `cache_write_1h` is for what is kept for an hour,
    and `reasoning` for what a model thinks: without them such tokens cost what `cache_write` and `output` do.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    reasoning: Decimal | None = None


class PriceTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Prices by model. `dated` says of when they are; None in `models` takes the price of a model away."""

    dated: str
    models: dict[str, Price | None] = field(default_factory=dict)


class Rate(Struct, frozen=True):
    """A price in whole picodollars per token."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    reasoning: int


class Rates:
    """A price table as the fold uses it. `checksum` is another number for another table."""

    def __init__(self, table: PriceTable) -> None:
        self.dated = table.dated
        by_name = {name: _rate(name, price) for name, price in table.models.items() if price is not None}
        self._exact = {name: rate for name, rate in by_name.items() if not name.endswith("*")}
        patterns = sorted((name for name in by_name if name.endswith("*")), key=lambda name: (-len(name), name))
        self._patterns = [(name[:-1], by_name[name]) for name in patterns]
        self.checksum = crc32(msgspec.json.encode([table.dated, by_name], order="deterministic"))

        self._remembered: BoundedCache[tuple[Rate | None]] = BoundedCache(_REMEMBERED_BYTES, sys.getsizeof)

    def of(self, model: str) -> Rate | None:
        """Return the rate of ``provider/model``, None where there is none."""
        found = self._remembered.get(model)
        if found is None:
            found = (self._looked_up(model),)
            self._remembered.put(model, found)
        return found[0]

    def _looked_up(self, model: str) -> Rate | None:
        return next((rate for rate in map(self._named, names_of(model)) if rate is not None), None)

    def _named(self, model: str) -> Rate | None:
        rate = self._exact.get(model)
        if rate is not None:
            return rate
        return next((rate for prefix, rate in self._patterns if model.startswith(prefix)), None)


def _rate(name: str, price: Price) -> Rate:
    def pico(what: str, usd: Decimal | None, otherwise: Decimal) -> int:
        usd = otherwise if usd is None else usd
        if not 0 <= usd <= _HIGHEST or usd * _PICO % 1:
            raise PluginError(f"price of {name}, {what}: {usd} is not 0 to {_HIGHEST} with at most six decimals")
        return int(usd * _PICO)

    cache_write = price.input if price.cache_write is None else price.cache_write
    return Rate(
        input=pico("input", price.input, price.input),
        output=pico("output", price.output, price.output),
        cache_read=pico("cache_read", price.cache_read, price.input),
        cache_write=pico("cache_write", price.cache_write, price.input),
        cache_write_1h=pico("cache_write_1h", price.cache_write_1h, cache_write),
        reasoning=pico("reasoning", price.reasoning, price.output),
    )


def shipped() -> PriceTable:
    """Return the table that comes with the package."""
    return _decode(Path(__file__).with_name("prices.json").read_bytes(), "prices.json")


def with_changes(file: str) -> PriceTable:
    """Return the table that comes with the package with a user's file laid over it, model by model. Raises PluginError."""
    try:
        text = Path(file).read_bytes()
    except OSError as error:
        raise PluginError(f"BEHEST_PRICES: {file} can't be read: {error.strerror}") from error
    return merged(shipped(), _decode(text, f"BEHEST_PRICES: {file}"))


def merged(table: PriceTable, changes: PriceTable) -> PriceTable:
    """Return a table with changes laid over it, model by model; its date is the changes'."""
    models: Mapping[str, Price | None] = {**table.models, **changes.models}
    return PriceTable(changes.dated, dict(models))


def _decode(text: bytes, place: str) -> PriceTable:
    try:
        return msgspec.json.decode(text, type=PriceTable)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PluginError(f"{place} is not a price table: {error}") from error
