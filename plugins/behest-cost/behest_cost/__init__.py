"""What runs cost, in USD, per run and per model.

Money is whole nanodollars: 1 USD is 1,000,000,000. Each model call is priced by itself and rounded to the nearest, half up; sums
are exact. So nothing drifts, and the same log gives the same sum however it is cut.

- A usage belongs to who answered, where it says that (`provider`, `model`). Otherwise to the model of the ModelStarted with its
  `model_call_id`; without such an id to that of the latest ModelStarted; before any, to the run's own.
- Tokens have one meaning (behest's docs/items.md): what was read from a cache and written to one is a part of the input, what was
  thought a part of the output. Each part has its own price.
- A call of a model without a price counts in `unpriced_calls` and `unpriced_tokens`, and costs nothing. A cost is whole only
  where `unpriced_calls` is 0.
- A CacheMetrics says for one model call what the usage of that call may say too. It is taken for the usage before it of the same
  call that has none yet, else for the next one. It is used where that usage has no cache fields, and ignored where it has: no
  token is charged twice. One that no usage is for is counted in `unclaimed_cache_metrics`.
- Prices are fixed when the plugin is loaded. The extension's version has the table's checksum in it: other prices are another
  version, and stored slices are then folded again.
- 24 models are kept by name. The rest, and names longer than 96 characters, are in `other_models`; priced they are all the same.
- Which model a call asked for is kept where that isn't the run's usual one, for the last 16 of such calls.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from msgspec import UNSET, Struct, UnsetType, field

from behest_core.model.events import CacheMetrics, ModelStarted, UsageRecorded
from behest_core.plugins import Extension, ExtensionState, hookimpl
from behest_cost.prices import Price, PriceTable, Rate, Rates, merged, shipped, with_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer

    from behest_core.model.state import RunState
    from behest_core.plugins import RunView
    from behest_core.plugins.panels import Panel

__all__ = ["CostState", "ModelCost", "Price", "PriceTable", "cost_of", "merged", "shipped", "with_changes"]

NANO: Final = 10**9
"""How many nanodollars a dollar has."""

MODELS: Final = 24
"""How many models of a run are kept by name."""

NAME: Final = 96
"""The longest name of a model that is kept, with its provider, in characters."""

_LOOKED_UP: Final = 256
"""The longest name of a model that is looked up, in characters: an inference profile's ARN has some 150."""

_CALLS: Final = 16
"""For how many calls of other models than the run's usual one it is kept which model they asked for."""

_HANDLERS: Final = 2
"""Raised whenever the handlers give another slice for the same log and prices."""

_PICO_PER_NANO: Final = 1000


class ModelCost(Struct, gc=False):
    """What a model's calls used and cost. The four kinds of tokens don't overlap."""

    calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0


class OpenCall(Struct, omit_defaults=True, gc=False):
    """What the CacheMetrics and the UsageRecorded of one model call need of each other: whichever came first.

    `waits_for` is ``metrics`` after a usage without cache fields, ``repeat`` after one with them, ``usage`` after CacheMetrics.
    `created` are the tokens written to a cache, `hour` those of them that are kept for an hour, `read` those read from one.
    """

    waits_for: Literal["metrics", "repeat", "usage"]
    call_id: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    created: int = 0
    hour: int = 0
    read: int = 0
    reasoning: int = 0


class CostState(ExtensionState):
    """The slice. `priced_as_of` is the date of the price table; `model` is the run's usual ``provider/model``.

    `other_models` is None until there is one. `asked` is by call which other model it asked for.
    """

    nano_usd: int = 0
    calls: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0
    models: dict[str, ModelCost] = field(default_factory=dict)
    other_models: ModelCost | None = None
    unclaimed_cache_metrics: int = 0
    priced_as_of: str | None = None
    model: str | None = None
    asked: dict[str, str] = field(default_factory=dict)
    open_call: OpenCall | None = None


def cost_of(table: PriceTable) -> Extension:
    """Return the extension `cost` with these prices. Raises PluginError for a price that isn't valid.

    A package of your own that returns this from `behest_extensions` brings its own prices without a file.
    """
    rates = Rates(table)
    cost = Extension("cost", CostState, version=_HANDLERS << 32 | rates.checksum)

    @cost.on(ModelStarted)
    def begin_call(state: CostState, event: ModelStarted, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
        model = f"{event.provider}/{event.model}"[:_LOOKED_UP]
        if event.model_call_id is UNSET:
            state.model, state.open_call = model, None
        else:
            _remember(state, event.model_call_id, model)

    @cost.on(UsageRecorded)
    def charge_usage(state: CostState, event: UsageRecorded, run: RunView) -> None:
        state.priced_as_of = rates.dated
        call = _called(_model_of(state, event, run), event)
        before = state.open_call
        if before is not None and before.waits_for == "usage" and before.call_id == call.call_id:
            state.unclaimed_cache_metrics -= 1
            if call.waits_for == "metrics":
                call.created, call.read = before.created, before.read
            state.open_call = None
        else:
            state.open_call = call
        _add(state, call, rates.of(call.model), 1)

    @cost.on(CacheMetrics)
    def charge_cache(state: CostState, event: CacheMetrics, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
        call, call_id = state.open_call, _text(event.model_call_id)
        if call is None or call.waits_for == "usage" or call.call_id != call_id:
            state.unclaimed_cache_metrics += 1
            state.open_call = _with_metrics(OpenCall("usage", call_id), event)
            return
        state.open_call = None
        if call.waits_for == "metrics":
            rate = rates.of(call.model)
            _add(state, call, rate, -1)
            _add(state, _with_metrics(call, event), rate, 1)

    return cost


def _remember(state: CostState, call_id: str, model: str) -> None:
    if state.model is None:
        state.model = model
    elif model != state.model and len(call_id) <= NAME:
        state.asked[call_id] = model
        if len(state.asked) > _CALLS:
            del state.asked[next(iter(state.asked))]


def price_of(rates: Rates, provider: str, model: str, event: UsageRecorded) -> int | None:
    """Return what one call cost, in nanodollars, None where the model has no price."""
    call = _called(f"{provider}/{model}"[:_LOOKED_UP], event)
    rate = rates.of(call.model)
    return None if rate is None else _nano_usd(call, rate)


def _model_of(state: CostState, event: UsageRecorded, run: RunView) -> str:
    """Return the ``provider/model`` that a usage is of."""
    asked = state.asked.get(event.model_call_id) if isinstance(event.model_call_id, str) else None
    asked = asked or state.model or f"{run.provider or 'unknown'}/{run.model or 'unknown'}"
    if event.model is UNSET and event.provider is UNSET:
        return asked[:_LOOKED_UP]
    provider, _, model = asked.partition("/")
    return f"{_text(event.provider) or provider}/{_text(event.model) or model}"[:_LOOKED_UP]


def _called(model: str, event: UsageRecorded) -> OpenCall:
    usage, call_id = event.usage, _text(event.model_call_id)
    created, read, cached = (
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
        usage.cached_input_tokens,
    )
    call = OpenCall("metrics", call_id, model, usage.input_tokens, usage.output_tokens)
    if created is not UNSET or read is not UNSET or cached is not UNSET:
        call.waits_for, call.created = "repeat", _count(created)
        call.read = max(_count(read), _count(cached))  # two names of the same tokens
    if event.cache_creation_1h_input_tokens is not UNSET:
        call.hour = event.cache_creation_1h_input_tokens
    if event.reasoning_output_tokens is not UNSET:
        call.reasoning = event.reasoning_output_tokens
    return call


def _count(count: int | UnsetType) -> int:
    return 0 if count is UNSET else count


def _text(text: str | UnsetType) -> str:
    return "" if text is UNSET else text[:NAME]


def _with_metrics(call: OpenCall, event: CacheMetrics) -> OpenCall:
    call.created = event.cache_creation_input_tokens
    call.read = max(event.cache_read_input_tokens, event.cached_input_tokens)
    return call


def _nano_usd(call: OpenCall, rate: Rate) -> int:
    """Return what a call cost. Parts that are more than the whole, as a writer may tell them, take nothing off it."""
    created, read = call.created, call.read
    pico = call.output_tokens * rate.output
    if created or read:
        hour = min(call.hour, created)
        pico += max(call.input_tokens - created - read, 0) * rate.input
        pico += read * rate.cache_read + (created - hour) * rate.cache_write + hour * rate.cache_write_1h
    else:
        pico += call.input_tokens * rate.input
    if call.reasoning:
        pico += min(call.reasoning, call.output_tokens) * (rate.reasoning - rate.output)
    return (pico + _PICO_PER_NANO // 2) // _PICO_PER_NANO


def _add(state: CostState, call: OpenCall, rate: Rate | None, sign: Literal[1, -1]) -> None:
    """Add a call to its model and to the run, or take it back."""
    created, read, new, output = call.created, call.read, call.input_tokens, call.output_tokens
    if created or read:
        new = max(new - created - read, 0)
    model = _model(state, call.model)
    model.calls += sign
    model.input_tokens += sign * new
    model.cache_read_tokens += sign * read
    model.cache_write_tokens += sign * created
    model.output_tokens += sign * output
    state.calls += sign
    if rate is None:
        for each in (model, state):
            each.unpriced_calls += sign
            each.unpriced_tokens += sign * (new + read + created + output)
    else:
        nano_usd = sign * _nano_usd(call, rate)
        model.nano_usd += nano_usd
        state.nano_usd += nano_usd


def _model(state: CostState, name: str) -> ModelCost:
    model = state.models.get(name)
    if model is not None:
        return model
    if len(name) > NAME or len(state.models) >= MODELS:
        if state.other_models is None:
            state.other_models = ModelCost()
        return state.other_models
    return state.models.setdefault(name, ModelCost())


def _prices() -> PriceTable:
    """Return the shipped prices, or those of the file that BEHEST_PRICES names laid over them."""
    file = os.environ.get("BEHEST_PRICES")
    return with_changes(file) if file else shipped()


@hookimpl
def behest_extensions() -> Sequence[Extension]:
    """Return the extension `cost`, with the shipped prices, or those of the file that BEHEST_PRICES names laid over them."""
    return [cost_of(_prices())]


@hookimpl
def behest_price(provider: str, model: str, usage: UsageRecorded) -> int | None:
    """Return what one model call cost, in nanodollars, by the same prices."""
    return price_of(_rates(os.environ.get("BEHEST_PRICES")), provider, model, usage)


@hookimpl
def behest_summary(state: RunState) -> dict[str, int]:
    """Return what the run cost, where one of its calls has a price, and how many have none."""
    known = state.slice_of("cost")
    calls, unpriced, nano_usd = (known.get(name) for name in ("calls", "unpriced_calls", "nano_usd"))
    if not isinstance(nano_usd, int) or not isinstance(unpriced, int) or calls == unpriced:
        return {}
    return {"nano_usd": nano_usd, "unpriced_calls": unpriced}


@hookimpl
def behest_panels() -> Sequence[Panel]:
    """Return what is shown of a run, of a list of runs, and of a session."""
    from behest_cost.panels import PANELS  # noqa: PLC0415 (it imports this module)

    return PANELS


@hookimpl
def behest_commands(app: typer.Typer) -> None:
    """Add `behest cost`."""
    from behest_cost.command import show_cost  # noqa: PLC0415 (typer and rich are there only with the command)

    app.command(name="cost")(show_cost)


@cache
def _rates(file: str | None) -> Rates:  # noqa: ARG001 (it is what the rates depend on)
    return Rates(_prices())
