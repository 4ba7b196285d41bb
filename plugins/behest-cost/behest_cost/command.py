"""`behest cost`: what runs cost, by model."""

from msgspec import Struct

from behest_core.cli.extending import (
    AsJson,
    CommandError,
    Runs,
    Session,
    Since,
    Stack,
    states_of,
    store_of,
    write_blocks,
    write_json,
)
from behest_core.plugins.panels import Facts
from behest_cost import ModelCost
from behest_cost.panels import blocks_of, sum_of


class Costs(Struct, kw_only=True):
    """What the command writes as JSON: a sum over so many runs. Money is in nanodollars."""

    runs: int
    nano_usd: int
    calls: int
    unpriced_calls: int
    unpriced_tokens: int
    models: dict[str, ModelCost]
    other_models: ModelCost | None


def show_cost(
    runs: Runs = None, *, session: Session = None, since: Since = None, as_json: AsJson = False, stack: Stack = None
) -> None:
    """Show what runs cost, by model: of runs, of a session, or of all created since a time."""
    states = list(states_of(store_of(stack), runs, session=session, since=since, extension="cost"))
    known = sum_of(states)
    if as_json:
        write_json(
            Costs(
                runs=len(states),
                nano_usd=known.nano_usd,
                calls=known.calls,
                unpriced_calls=known.unpriced_calls,
                unpriced_tokens=known.unpriced_tokens,
                models=known.models,
                other_models=known.other_models,
            )
        )
        return
    blocks = blocks_of(known)
    if not blocks:
        raise CommandError("no model call is recorded in these runs")
    write_blocks([*([Facts([("runs", len(states))])] if len(states) > 1 else []), *blocks])
