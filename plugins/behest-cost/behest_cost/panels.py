"""What a run, or several, cost: as a person reads it. The command, the page and `behest show` share it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import convert
from msgspec.structs import fields

from behest_core.plugins.panels import Bars, Facts, Note, Panel, Rows, Tokens, Usd
from behest_core.wording import amount, usd_text
from behest_cost import CostState, ModelCost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from behest_core.model.state import RunState
    from behest_core.plugins.panels import Block, PanelInput, RunsInput

_OTHERS: Final = "all other models"
_COLUMNS: Final = ("model", "calls", "input", "cache read", "cache written", "output", "cost")


def cost_in(piece: Mapping[str, object]) -> CostState:
    """Return a slice's state, read from its JSON values."""
    return convert(piece, CostState)


def sum_of(states: Iterable[RunState]) -> CostState:
    """Return what runs cost together, by model; every model by name."""
    total = CostState()
    for state in states:
        known = cost_in(state.slice_of("cost"))
        total.nano_usd += known.nano_usd
        total.calls += known.calls
        total.unpriced_calls += known.unpriced_calls
        total.unpriced_tokens += known.unpriced_tokens
        total.priced_as_of = max(filter(None, (total.priced_as_of, known.priced_as_of)), default=None)
        for name, model in known.models.items():
            _add(total.models.setdefault(name, ModelCost()), model)
        if known.other_models is not None:
            total.other_models = total.other_models or ModelCost()
            _add(total.other_models, known.other_models)
    return total


def _add(total: ModelCost, more: ModelCost) -> None:
    for field in fields(ModelCost):
        setattr(total, field.name, getattr(total, field.name) + getattr(more, field.name))


def blocks_of(known: CostState) -> list[Block]:
    """Return a cost in full: the sum, the models with their tokens, what has no price. Nothing where no usage was recorded."""
    if not known.calls:
        return []
    models = [*known.models.items(), *([] if known.other_models is None else [(_OTHERS, known.other_models)])]
    models.sort(key=lambda each: (-each[1].nano_usd, each[0]))
    blocks: list[Block] = [
        Facts(
            [
                ("cost", None if known.calls == known.unpriced_calls else Usd(known.nano_usd)),
                ("model calls", known.calls),
                ("prices of", known.priced_as_of),
            ]
        ),
        Rows(_COLUMNS, [_row(name, model) for name, model in models]),
    ]
    if known.unpriced_calls:
        without = (
            f"{amount(known.unpriced_calls, 'call')} with {amount(known.unpriced_tokens, 'token')} have no price: "
        )
        blocks.append(Note(f"{without}the cost is not whole", "warning"))
    return blocks


def _row(name: str, model: ModelCost) -> tuple[str, int, Tokens, Tokens, Tokens, Tokens, Usd | None]:
    read, written = Tokens(model.cache_read_tokens), Tokens(model.cache_write_tokens)
    cost = None if model.calls == model.unpriced_calls else Usd(model.nano_usd)
    return name, model.calls, Tokens(model.input_tokens), read, written, Tokens(model.output_tokens), cost


def _of_a_run(given: PanelInput) -> Sequence[Block]:
    return blocks_of(cost_in(given.slice))


def _of_runs(given: RunsInput) -> Sequence[Block]:
    known = sum_of(given.states)
    bars = [
        (name, model.nano_usd, usd_text(model.nano_usd)) for name, model in known.models.items() if model.nano_usd > 0
    ]
    bars.sort(key=lambda each: -each[1])
    return [*blocks_of(known), *([Bars(bars)] if len(bars) > 1 else [])]


PANELS: Final = (Panel("Cost", "run", _of_a_run), Panel("Cost", "runs", _of_runs), Panel("Cost", "session", _of_runs))
