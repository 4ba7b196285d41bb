from decimal import Decimal
from types import MappingProxyType

import behest_cost
import pytest
from behest_cost import MODELS, NAME, NANO, Price, PriceTable, cost_of, merged, shipped
from behest_cost.names import names_of
from msgspec import UNSET
from msgspec.json import encode

from behest_core.fold.dispatch import Dispatch
from behest_core.fold.rules import fold, start
from behest_core.model.events import CacheMetrics, ModelStarted, UsageRecorded
from behest_core.model.limits import EXTENSION_BYTES
from behest_core.model.state import TokenUsage
from behest_core.plugins.loading import plugin_from
from behest_core.testing.builders import at, commit, raw_commit, run_completed, run_started
from behest_core.testing.folding import assert_any_cut_gives_the_same, commits_of, folded, slice_of

MILLION = 10**6


def price(given, written, cache_read=None, cache_write=None, **more):
    """Return a price in USD per million tokens."""
    numbers = [None if each is None else Decimal(each) for each in (given, written, cache_read, cache_write)]
    return Price(*numbers, **more)


TABLE = PriceTable(
    "2026-01-01",
    {
        "p/m": price(4, 10, cache_read=1, cache_write=5),
        "p/plain": price(4, 10),
        "p/cheap": price("0.15", "0.60"),
        "p/dear": price(2, 8),
        "p/tiers": price(4, 10, cache_read=1, cache_write=5, cache_write_1h=8, reasoning=20),
        "p/tiny": price("0.0005", "0.000001"),
        "p/m-*": price(2, 2),
        "p/m-mini*": price(1, 1),
    },
)


def compiled(table=TABLE):
    return Dispatch([cost_of(table)])


def model(name="m", provider="p", call=UNSET):
    return ModelStarted(provider=provider, model=name, iteration=1, model_call_id=call, timestamp=at(2))


def usage(given=MILLION, written=0, call=UNSET, more=MappingProxyType({}), **cache):
    return UsageRecorded(usage=TokenUsage(given, written, **cache), model_call_id=call, timestamp=at(3), **more)


def metrics(created=0, read=0, cached=0, call=UNSET):
    return CacheMetrics(
        model_call_id=call,
        cache_creation_input_tokens=created,
        cache_read_input_tokens=read,
        cached_input_tokens=cached,
        timestamp=at(4),
    )


def cost(*events, table=TABLE):
    return slice_of(compiled(table), *events)


def usd(state):
    return state["nano_usd"] / NANO


# ---------------------------------------------------------------- which model


def test_two_models_at_once_cost_each_its_own():
    state = cost(model("cheap", call="a"), model("dear", call="b"), usage(call="a"), usage(call="b"), run_completed())
    assert usd(state) == 2.15
    assert {name: usd(each) for name, each in state["models"].items()} == {"p/cheap": 0.15, "p/dear": 2}


def test_a_cheaper_model_within_a_dearer_ones_call_costs_its_own():
    state = cost(
        model("dear", call="outer"),
        usage(call="outer"),
        model("cheap", call="inner"),
        usage(call="inner"),
        model("dear", call="again"),
        usage(call="again"),
    )
    assert usd(state) == 4.15


def test_who_answered_is_who_is_paid():
    who = {"provider": "p", "model": "dear"}
    assert usd(cost(model("cheap", call="a"), usage(call="a", more=who))) == 2
    assert usd(cost(model("cheap", call="a"), usage(call="a", more={"model": "dear"}))) == 2
    assert usd(cost(usage(more=who))) == 2


def test_a_usage_that_comes_late_still_is_of_its_own_call():
    others = [each for n in range(15) for each in (model("dear", call=f"d{n}"), usage(0, call=f"d{n}"))]
    state = cost(model("cheap", call="a"), model("dear", call="b"), *others, usage(call="b"), usage(call="a"))
    assert usd(state) == 2.15


def test_cache_metrics_are_of_the_call_that_they_name():
    state = cost(
        model(call="a"),
        usage(MILLION, call="a"),
        metrics(read=MILLION, call="b"),
        usage(MILLION, call="b"),
    )
    assert (usd(state), state["unclaimed_cache_metrics"]) == (4 + 1, 0)


PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.mark.parametrize(
    ("provider", "name", "found_as"),
    [
        ("bedrock", PROFILE, "anthropic/claude-sonnet-4-5*"),
        ("aws.bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic/claude-sonnet-4-5*"),
        ("bedrock", "global.anthropic.claude-opus-4-1-20250805-v1:0", "anthropic/claude-opus-4-1*"),
        ("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic/claude-haiku-4-5*"),
        ("google-vertex", "claude-sonnet-4-5@20250929", "anthropic/claude-sonnet-4-5*"),
        ("azure", "gpt-4o-2024-11-20", "openai/gpt-4o-2024-11-20"),
        ("azure.ai.openai", "gpt-5.5", "openai/gpt-5.5"),
        ("openai", "gpt-5.5-2026-03-01", "openai/gpt-5.5"),
        ("openai", "ft:gpt-4o-2024-08-06:org::id", None),
        ("openrouter", "openai/gpt-4o", None),
        ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", None),
    ],
)
def test_a_model_is_found_under_the_names_by_which_it_is_the_same(provider, name, found_as):
    price = None if found_as is None else shipped().models[found_as].input
    state = cost(model(name, provider), usage(), table=shipped())
    assert (state["unpriced_calls"], usd(state)) == ((1, 0) if price is None else (0, float(price)))


def test_a_name_too_long_to_be_kept_is_looked_up_whole():
    table = PriceTable("2026-01-01", {f"bedrock/{PROFILE}": price(7, 7)})
    state = cost(model(PROFILE, "bedrock", call="a"), usage(call="a"), table=table)
    assert (usd(state), state["unpriced_calls"], state["other_models"]["calls"]) == (7, 0, 1)


def test_a_name_of_its_own_comes_before_all_others():
    names = list(names_of(f"bedrock/{PROFILE}"))
    assert names[0] == f"bedrock/{PROFILE}"
    assert names[-1] == "anthropic/claude-sonnet-4-5"


def test_what_a_call_is_shown_to_cost_is_what_it_is_charged(monkeypatch):
    monkeypatch.delenv("BEHEST_PRICES", raising=False)
    [price_of] = plugin_from(behest_cost, "cost").prices
    event = usage(MILLION, MILLION, cache_read_input_tokens=MILLION // 2)
    charged = cost(model("gpt-4o", "openai"), event, table=shipped())
    assert price_of(provider="openai", model="gpt-4o", usage=event) == charged["nano_usd"]
    assert price_of(provider="openai", model="unheard-of", usage=event) is None


def test_a_usage_is_priced_by_the_model_that_was_called_last():
    state = cost(model("m"), usage(), model("plain"), usage(0, MILLION))
    assert {name: each["nano_usd"] for name, each in state["models"].items()} == {"p/m": 4 * NANO, "p/plain": 10 * NANO}
    assert (usd(state), state["calls"], state["unpriced_calls"]) == (14, 2, 0)
    assert state["priced_as_of"] == "2026-01-01"


def test_without_a_model_call_the_run_says_which_model_it_is():
    assert list(cost(run_started(provider="p", model="m"), usage())["models"]) == ["p/m"]


def test_a_run_of_which_nothing_is_known_is_not_priced():
    state = folded([commit(1, usage())], compiled()).extensions["cost"].state
    assert (list(state["models"]), state["unpriced_calls"]) == (["unknown/unknown"], 1)


@pytest.mark.parametrize(
    ("name", "expected"), [("m", 4), ("m-2026-01-01", 2), ("m-mini", 1), ("m-mini-2026", 1), ("mm", 0)]
)
def test_a_price_is_found_by_name_then_by_the_longest_beginning(name, expected):
    assert usd(cost(model(name), usage())) == expected


def test_a_call_without_a_price_is_counted_and_not_taken_for_free():
    state = cost(model("m"), usage(), model("new"), usage(70, 30, cache_read_input_tokens=5))
    assert (state["unpriced_calls"], state["unpriced_tokens"], state["calls"], usd(state)) == (1, 100, 2, 4)
    assert state["models"]["p/new"]["unpriced_tokens"] == 100


# ---------------------------------------------------------------- money


def test_every_call_is_rounded_to_the_nearest_nanodollar_and_the_sum_is_exact():
    assert cost(model("tiny"), *[usage(1)] * 3)["nano_usd"] == 3
    assert cost(model("tiny"), *[usage(0, 499)] * 3)["nano_usd"] == 0
    assert cost(model("tiny"), *[usage(0, 500)] * 3)["nano_usd"] == 3


def test_ten_thousand_calls_do_not_drift():
    log = [model("m"), *[usage(1, 1)] * 10_000]
    state = folded([*commits_of(), commit(1, *log)], compiled()).extensions["cost"].state
    assert state["nano_usd"] == 10_000 * (4_000 + 10_000)


# ---------------------------------------------------------------- cache tokens


def test_cached_input_tokens_are_a_part_of_the_input():
    state = cost(model(), usage(MILLION, cached_input_tokens=MILLION // 4))
    assert usd(state) == 0.75 * 4 + 0.25 * 1
    assert (state["models"]["p/m"]["input_tokens"], state["models"]["p/m"]["cache_read_tokens"]) == (750_000, 250_000)


def test_cache_reads_and_writes_are_parts_of_the_input():
    cache = {"cache_read_input_tokens": MILLION // 2, "cache_creation_input_tokens": MILLION // 4}
    state = cost(model(), usage(MILLION, **cache))
    assert usd(state) == 0.25 * 4 + 0.5 * 1 + 0.25 * 5
    tokens = state["models"]["p/m"]
    assert tokens["input_tokens"] + tokens["cache_read_tokens"] + tokens["cache_write_tokens"] == MILLION


def test_what_is_kept_for_an_hour_and_what_is_thought_have_their_own_price():
    tiers = {"cache_creation_1h_input_tokens": MILLION // 2, "reasoning_output_tokens": MILLION // 4}
    event = usage(MILLION, MILLION, more=tiers, cache_creation_input_tokens=MILLION)
    assert usd(cost(model("tiers"), event)) == 0.5 * 5 + 0.5 * 8 + 0.75 * 10 + 0.25 * 20
    assert usd(cost(model("m"), event)) == 5 + 10


def test_reads_under_both_names_are_the_same_tokens():
    cache = {"cache_read_input_tokens": MILLION // 2, "cached_input_tokens": MILLION // 2}
    assert usd(cost(model(), usage(MILLION, **cache))) == 0.5 * 4 + 0.5 * 1


def test_more_cached_than_there_was_input_is_never_less_than_nothing():
    assert usd(cost(model(), usage(0, cached_input_tokens=MILLION))) == 1
    more = {"cache_creation_1h_input_tokens": MILLION, "reasoning_output_tokens": MILLION}
    assert usd(cost(model("tiers"), usage(0, 0, more=more))) == 0


def test_without_a_price_of_their_own_cache_tokens_cost_what_input_does():
    cache = {"cache_read_input_tokens": MILLION, "cache_creation_input_tokens": MILLION}
    assert usd(cost(model("plain"), usage(0, **cache))) == 8


@pytest.mark.parametrize("in_order", [True, False])
def test_cache_metrics_give_a_usage_the_cache_counts_it_lacks(in_order):
    pair = [usage(2 * MILLION, 7), metrics(created=MILLION, read=MILLION)]
    said_so = cost(model(), usage(2 * MILLION, 7, cache_creation_input_tokens=MILLION, cache_read_input_tokens=MILLION))
    state = cost(model(), *(pair if in_order else pair[::-1]))
    assert (state["models"], state["nano_usd"]) == (said_so["models"], said_so["nano_usd"])
    assert state["unclaimed_cache_metrics"] == 0


@pytest.mark.parametrize("in_order", [True, False])
def test_cache_metrics_that_repeat_a_usage_are_not_charged_twice(in_order):
    pair = [usage(MILLION, cached_input_tokens=MILLION), metrics(cached=MILLION)]
    state = cost(model(), *(pair if in_order else pair[::-1]), *(pair if in_order else pair[::-1]))
    assert (usd(state), state["calls"], state["unclaimed_cache_metrics"]) == (2, 2, 0)


def test_cache_metrics_of_an_unpriced_call_are_counted():
    state = cost(model("new"), usage(10), metrics(read=5))
    assert (state["unpriced_calls"], state["unpriced_tokens"], state["calls"]) == (1, 10, 1)
    assert state["models"]["p/new"]["cache_read_tokens"] == 5


def test_cache_metrics_without_a_usage_cost_nothing_and_are_counted():
    state = cost(model(), metrics(read=MILLION), model(), usage(), metrics(), metrics(read=MILLION))
    assert (usd(state), state["unclaimed_cache_metrics"]) == (4, 2)


# ---------------------------------------------------------------- any log


def test_any_cut_into_batches_gives_the_same():
    log = [run_started(), usage(5), model(), metrics(read=9), usage(), usage(), metrics(created=3), model("new")]
    assert_any_cut_gives_the_same(compiled(), *log, usage(3), metrics(1, 2, 3), run_completed(), usage(1), metrics())


def test_a_usage_after_the_end_counts_as_any():
    assert usd(cost(model(), run_completed(), usage())) == 4


def test_cache_metrics_that_cannot_be_read_park_the_slice_and_not_the_run():
    odd = raw_commit(2, 1, b'[{"type":"CacheMetrics","timestamp":"2026-01-31T12:00:01Z"}]')
    state = folded([*commits_of(usage()), odd], compiled())
    piece = state.extensions["cost"]
    assert (state.sequence, piece.sequence, piece.parked.sequence) == (2, 1, 2)


def test_models_beyond_the_cap_and_names_that_are_too_long_are_counted_together():
    names = [f"m-{n}" for n in range(MODELS + 2)]
    log = [each for name in [*names, "x" * NAME] for each in (model(name), usage())]
    state = cost(*log)
    assert (len(state["models"]), state["other_models"]["calls"], state["calls"]) == (MODELS, 3, MODELS + 3)


def test_the_largest_slice_is_below_the_cap():
    names = [f"{n:02}" + "\x01" * (NAME - 4) for n in range(MODELS + 1)]
    cache = {"cache_read_input_tokens": 2**57, "cache_creation_input_tokens": 2**57}
    calls = [(model(name, call=name), usage(2**59, 2**50, call=name, **cache)) for name in names]
    long = [model(f"{n}" + "\x01" * 2000, call=f"{n:02}" + "\x01" * (NAME - 2)) for n in range(20)]
    state = cost(*(each for call in calls for each in call), *long)
    assert EXTENSION_BYTES / 2 < len(encode(state)) < EXTENSION_BYTES


# ---------------------------------------------------------------- prices


def test_other_prices_are_another_version_and_the_same_prices_the_same():
    again = PriceTable(TABLE.dated, dict(reversed(TABLE.models.items())))
    dearer = merged(TABLE, PriceTable(TABLE.dated, {"p/m": price(5, 10)}))
    assert cost_of(again).version == cost_of(TABLE).version != cost_of(dearer).version
    assert cost_of(PriceTable("2026-01-02", TABLE.models)).version != cost_of(TABLE).version


def test_stored_slices_are_priced_again_when_the_prices_change():
    log = commits_of(model(), usage())
    dearer = compiled(merged(TABLE, PriceTable("2026-02-01", {"p/m": price(5, 10)})))
    before = folded(log, compiled())
    assert start(before, dearer).after == -1
    piece = fold(before, log, dearer).state.extensions["cost"]
    assert (piece.state["nano_usd"], piece.state["priced_as_of"]) == (5 * NANO, "2026-02-01")


def test_the_plugin_brings_the_shipped_prices(monkeypatch):
    monkeypatch.delenv("BEHEST_PRICES", raising=False)
    plugin = plugin_from(behest_cost, "cost")
    assert plugin.refused is None
    assert plugin.extensions[0].version == cost_of(shipped()).version


@pytest.mark.parametrize("name", sorted(shipped().models))
def test_what_is_shipped_costs_something_and_a_cache_read_less_than_input(name):
    price = shipped().models[name]
    assert 0 < price.cache_read < price.input < price.output


def test_a_file_of_prices_is_laid_over_the_shipped_ones(monkeypatch, tmp_path):
    file = tmp_path / "prices.json"
    file.write_text(
        '{"dated": "2026-08-01", "models": {"openai/gpt-4o": null, "mine/own": {"input": 0.075, "output": 1}}}'
    )
    monkeypatch.setenv("BEHEST_PRICES", str(file))
    [extension] = plugin_from(behest_cost, "cost").extensions
    log = [model("own", "mine"), usage(), model("gpt-4o", "openai"), usage(), model("gpt-4o-mini", "openai"), usage()]
    state = slice_of(Dispatch([extension]), *log)
    assert (state["nano_usd"], state["unpriced_calls"], state["priced_as_of"]) == (225_000_000, 1, "2026-08-01")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't be read"),
        ("{", "not a price table"),
        ("[]", "not a price table"),
        ('{"models": {}}', "dated"),
        ('{"dated": "d", "models": {"a/b": {"input": 1}}}', "output"),
        ('{"dated": "d", "models": {"a/b": {"input": 1, "output": 1, "cached": 1}}}', "cached"),
        ('{"dated": "d", "models": {"a/b": {"input": -1, "output": 1}}}', "a/b, input: -1"),
        ('{"dated": "d", "models": {"a/b": {"input": 1, "output": 0.0000001}}}', "a/b, output"),
    ],
)
def test_a_file_that_will_not_do_is_refused_when_the_plugin_is_loaded(monkeypatch, tmp_path, text, message):
    file = tmp_path / "prices.json"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("BEHEST_PRICES", str(file))
    refused = plugin_from(behest_cost, "cost").refused
    assert refused is not None
    assert message in refused
    assert "BEHEST_PRICES" in refused or "price of" in refused
