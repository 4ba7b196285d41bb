"""What runs cost, in USD, per run and per model.

Money is whole nanodollars: 1 USD is 1,000,000,000. Each model call is priced by itself and rounded to the nearest, half up; sums
are exact. So nothing drifts, and the same log gives the same sum however it is cut.

- A usage belongs to the model of the run's latest ModelStarted; before any, to the run's own.
- A call of a model without a price counts in `unpriced_calls` and `unpriced_tokens`, and costs nothing. A cost is whole only
  where `unpriced_calls` is 0.
- `cached_input_tokens` (OpenAI's) are part of `input_tokens`. `cache_read_input_tokens` and `cache_creation_input_tokens`
  (Anthropic's) come beside them, unless the price says `input_includes_cache`. Reads that are given under both names are the same
  tokens: the larger number counts.
- A CacheMetrics says for one model call what the usage of that call may say too. It is taken for the usage before it that has
  none yet, else for the next one, up to the next ModelStarted. It is used where that usage has no cache fields, and ignored where
  it has: no token is charged twice. One that no usage is for is counted in `unclaimed_cache_metrics`.
- Prices are fixed when the plugin is loaded. The extension's version has the table's checksum in it: other prices are another
  version, and stored slices are then folded again.
- 24 models are kept by name. The rest, and names longer than 96 characters, are in `other_models`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

from msgspec import UNSET, Struct, UnsetType, field

from behest_core.model.events import CacheMetrics, ModelStarted, UsageRecorded
from behest_core.plugins import Extension, ExtensionState, hookimpl
from behest_cost.prices import Price, PriceTable, Rate, Rates, merged, shipped, with_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from behest_core.model.state import TokenUsage
    from behest_core.plugins import RunView

__all__ = ["CostState", "ModelCost", "Price", "PriceTable", "cost_of", "merged", "shipped", "with_changes"]

NANO: Final = 10**9
"""How many nanodollars a dollar has."""

MODELS: Final = 24
"""How many models of a run are kept by name."""

NAME: Final = 96
"""The longest name of a model that is kept, with its provider, in characters."""

_HANDLERS: Final = 1
"""Raised whenever the handlers give another slice for the same log and prices."""

_PICO_PER_NANO: Final = 1000


class ModelCost(Struct):
    """What a model's calls used and cost. The four kinds of tokens don't overlap."""

    calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0


class OpenCall(Struct, omit_defaults=True):
    """What the CacheMetrics and the UsageRecorded of one model call need of each other: whichever came first.

    `waits_for` is ``metrics`` after a usage without cache fields, ``repeat`` after one with them, ``usage`` after CacheMetrics.
    """

    waits_for: Literal["metrics", "repeat", "usage"]
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    created: int = 0
    read: int = 0
    cached: int = 0


class CostState(ExtensionState):
    """The slice. `priced_as_of` is the date of the price table; `model` is the latest ModelStarted's ``provider/model``."""

    nano_usd: int = 0
    calls: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0
    models: dict[str, ModelCost] = field(default_factory=dict)
    other_models: ModelCost = field(default_factory=ModelCost)
    unclaimed_cache_metrics: int = 0
    priced_as_of: str | None = None
    model: str | None = None
    open_call: OpenCall | None = None


def cost_of(table: PriceTable) -> Extension:
    """Return the extension `cost` with these prices. Raises PluginError for a price that isn't valid.

    A package of your own that returns this from `behest_extensions` brings its own prices without a file.
    """
    rates = Rates(table)
    cost = Extension("cost", CostState, version=_HANDLERS << 32 | rates.checksum)

    @cost.on(ModelStarted)
    def begin_call(state: CostState, event: ModelStarted, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
        state.model = f"{event.provider}/{event.model}"[: NAME + 1]
        state.open_call = None

    @cost.on(UsageRecorded)
    def charge_usage(state: CostState, event: UsageRecorded, run: RunView) -> None:
        state.priced_as_of = rates.dated
        model = state.model or f"{run.provider or 'unknown'}/{run.model or 'unknown'}"[: NAME + 1]
        call = _called(model, event.usage)
        before = state.open_call
        if before is not None and before.waits_for == "usage":
            state.unclaimed_cache_metrics -= 1
            if call.waits_for == "metrics":
                call.created, call.read, call.cached = before.created, before.read, before.cached
            state.open_call = None
        else:
            state.open_call = call
        _add(state, call, rates.of(model), 1)

    @cost.on(CacheMetrics)
    def charge_cache(state: CostState, event: CacheMetrics, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
        call = state.open_call
        if call is None or call.waits_for == "usage":
            state.unclaimed_cache_metrics += 1
            state.open_call = _with_metrics(OpenCall("usage"), event)
            return
        state.open_call = None
        if call.waits_for == "metrics":
            rate = rates.of(call.model)
            _add(state, call, rate, -1)
            _add(state, _with_metrics(call, event), rate, 1)

    return cost


def _called(model: str, usage: TokenUsage) -> OpenCall:
    created, read, cached = (
        usage.cache_creation_input_tokens,
        usage.cache_read_input_tokens,
        usage.cached_input_tokens,
    )
    if created is UNSET and read is UNSET and cached is UNSET:
        return OpenCall("metrics", model, usage.input_tokens, usage.output_tokens)
    return OpenCall(
        "repeat", model, usage.input_tokens, usage.output_tokens, _count(created), _count(read), _count(cached)
    )


def _count(count: int | UnsetType) -> int:
    return 0 if count is UNSET else count


def _with_metrics(call: OpenCall, event: CacheMetrics) -> OpenCall:
    call.created = event.cache_creation_input_tokens
    call.read = event.cache_read_input_tokens
    call.cached = event.cached_input_tokens
    return call


def _add(state: CostState, call: OpenCall, rate: Rate | None, sign: Literal[1, -1]) -> None:
    """Add a call to its model and to the run, or take it back."""
    read = max(call.cached, call.read)
    within = call.created + read if rate is not None and rate.input_includes_cache else call.cached
    new = call.input_tokens - within if call.input_tokens > within else 0
    model = _model(state, call.model)
    model.calls += sign
    model.input_tokens += sign * new
    model.cache_read_tokens += sign * read
    model.cache_write_tokens += sign * call.created
    model.output_tokens += sign * call.output_tokens
    state.calls += sign
    if rate is None:
        for each in (model, state):
            each.unpriced_calls += sign
            each.unpriced_tokens += sign * (new + read + call.created + call.output_tokens)
    else:
        pico = (
            new * rate.input
            + read * rate.cache_read
            + call.created * rate.cache_write
            + call.output_tokens * rate.output
        )
        nano_usd = sign * ((pico + _PICO_PER_NANO // 2) // _PICO_PER_NANO)
        model.nano_usd += nano_usd
        state.nano_usd += nano_usd


def _model(state: CostState, name: str) -> ModelCost:
    model = state.models.get(name)
    if model is not None:
        return model
    if len(name) > NAME or len(state.models) >= MODELS:
        return state.other_models
    return state.models.setdefault(name, ModelCost())


@hookimpl
def behest_extensions() -> Sequence[Extension]:
    """Return the extension `cost`, with the shipped prices, or those of the file that BEHEST_PRICES names laid over them."""
    file = os.environ.get("BEHEST_PRICES")
    return [cost_of(with_changes(file) if file else shipped())]
