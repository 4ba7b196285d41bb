"""The conformance kit: good plugins pass, and a plugin that breaks a rule is caught by that rule."""

import random
import re
import time
from types import SimpleNamespace

import msgspec
import pytest

from behest_core.model.events import Event, ModelStarted, TextDelta, UsageRecorded
from behest_core.plugins import Extension, ExtensionState, hookspecs
from behest_core.plugins.panels import Facts, Note, Panel, Rows
from behest_core.testing.conformance import check_plugin, given
from tests.builders import at, model_started, text_delta, usage_recorded


class Rated(Event, tag="ratings.Rated"):
    by_id: str
    stars: int


class Strict(Event, tag="ratings.Strict", forbid_unknown_fields=True):
    stars: int


class Binary(Event, tag="ratings.Binary"):
    data: bytes


class Ratings(ExtensionState):
    count: int = 0
    total: float = 0.0
    texts: list[str] = []
    by_name: dict[str, int] = {}
    by_number: dict[int, int] = {}
    names: set[str] = set()


def plugin_of(handler, *, listens=Rated, state=Ratings, when=None, upcasters=None, panel=None):
    """Return a plugin of one extension with one handler."""
    extension = Extension("ratings", state)
    extension.on(listens, when=when)(handler)
    own = [listens] if listens in (Rated, Strict, Binary) else []
    hooks = {"behest_extensions": lambda: [extension], "behest_event_types": lambda: own}
    if upcasters is not None:
        hooks["behest_upcasters"] = lambda: upcasters
    if panel is not None:
        hooks["behest_panels"] = lambda: [panel]
    return SimpleNamespace(**{name: hookspecs.hookimpl(function) for name, function in hooks.items()})


def rate(state, event, run):
    state.count += 1
    state.total += event.stars
    state.by_name[event.by_id] = run.sequence
    for name in list(state.by_name)[:-10]:
        del state.by_name[name]


def rated(second=1, stars=3, **fields):
    return Rated(by_id="id-1", stars=stars, timestamp=at(second), **fields)


# ---------------------------------------------------------------- good plugins


def test_a_good_plugin_passes():
    check_plugin(plugin_of(rate), [rated(), text_delta(), usage_recorded()])


def test_a_plugin_that_listens_to_every_type_of_the_core_passes():
    def tokens(state, event, run):
        state.total += event.usage.input_tokens

    check_plugin(plugin_of(tokens, listens=UsageRecorded))


def test_several_logs_may_be_given():
    check_plugin(plugin_of(rate), [[rated()], [text_delta(), rated()]], logs=1)


def test_an_upcaster_that_keeps_the_rules_passes():
    def upcast(event):
        return event if "stars" in event else {**event, "stars": event["points"]}

    old = {"type": "ratings.Rated", "timestamp": at(1), "by_id": "id-1", "points": 4}
    check_plugin(plugin_of(rate, upcasters={"ratings.Rated": upcast}), [old])
    given(plugin_of(rate, upcasters={"ratings.Rated": upcast}), old).then(total=4)


def test_a_plugin_whose_panel_draws_every_run_passes():
    plugin = plugin_of(rate, panel=Panel("Stars", "run", draws_many))
    check_plugin(plugin, [rated()])
    assert given(plugin, rated()).panel("Stars") == [Rows(["name", "sequence"], [["id-1", 1]])]
    with pytest.raises(AssertionError, match="panel 'Stars' can't be drawn: KeyError"):
        given(plugin_of(rate, panel=Panel("Stars", "run", lambda seen: seen.slice["gone"]))).panel("Stars")


# ---------------------------------------------------------------- bad ones


def by_the_clock(state, event, run):
    state.total = time.perf_counter()


def by_chance(state, event, run):
    state.total = random.random()


counted = []


def by_what_it_remembers(state, event, run):
    counted.append(event)
    state.count = len(counted)


def raises(state, event, run):
    if event.stars > 5:
        raise RuntimeError("too many stars")


def leaves(state, event, run):
    raise SystemExit


def grows(state, event, run):
    state.texts.append("x" * 200)


def changes_the_run(state, event, run):
    run.status = "Completed"


def goes_behind_the_view(state, event, run):
    run._look().iteration = 99


def changes_the_event(state, event, run):
    event.stars = 0


def leaves_nan(state, event, run):
    state.total = float("nan")


def names_an_attribute_empty(state, event, run):
    state.by_name[""] = 1


def counts_by_commit(state, event, run):
    state.names = Memory(state.names)
    state.count += 1


class Forgetful(ExtensionState):
    count: int = 0
    last: object = None


def keeps_what_json_has_not(state, event, run):
    state.count += isinstance(state.last, tuple)
    state.last = (event.stars,)


class Memory(set):
    pass


cached = {}


def keeps_its_state_elsewhere(state, event, run):
    if cached.get("state") is not state:
        state.total += 100
        cached["state"] = state


def leaves_when_malformed(event):
    if not isinstance(event.get("stars"), int):
        raise SystemExit
    return event


def ignores(state, event, run):
    state.count += 1


class Asked(ExtensionState):
    count: int = 0
    asked: int = 0


def counts_how_often_it_is_asked(state):
    state.asked += 1
    return state.asked % 3 > 0


def only_by_chance(state):
    return random.random() < 0.5


def draws_many(seen):
    return [Rows(["name", "sequence"], list(seen.slice.get("by_name", {}).items()))]


def draws_what_not_every_run_has(seen):
    return [Facts([("total", seen.slice["total"])])]


def draws_no_facts(runs):
    return [Facts([("slices", state.extensions) for state in runs.states])]


def changes_what_it_draws(seen):
    seen.state.iteration += 1
    return [Note("changed")]


@pytest.mark.parametrize(
    ("plugin", "rule"),
    [
        (plugin_of(by_the_clock), "the same log gives the same state: extension ratings"),
        (plugin_of(by_chance), "the same log gives the same state: extension ratings"),
        (plugin_of(by_what_it_remembers), "the same log gives the same state: extension ratings"),
        (plugin_of(raises), r"no valid event parks its slice: extension ratings .* RuntimeError\('too many stars'\)"),
        (plugin_of(leaves), "no valid event parks its slice: extension ratings .* SystemExit"),
        (plugin_of(grows), "its state stays under its cap: extension ratings"),
        (plugin_of(changes_the_run), "it never changes the run: extension ratings"),
        (plugin_of(goes_behind_the_view), "it never changes the run: plugin .* iteration"),
        (plugin_of(changes_the_event), "it never changes an event: extension ratings .* ratings.Rated"),
        (plugin_of(leaves_nan), "its state can be stored: extension ratings"),
        (plugin_of(names_an_attribute_empty), "its state can be stored: extension ratings"),
        (plugin_of(keeps_what_json_has_not, state=Forgetful), "(its state can be stored|any batching)"),
        (plugin_of(keeps_its_state_elsewhere), "any batching gives the same state: extension ratings"),
        (plugin_of(ignores, state=Asked, when=counts_how_often_it_is_asked), "when depends on the state alone"),
        (plugin_of(ignores, when=only_by_chance), "(the same log gives|installed later|any batching|when)"),
        (plugin_of(rate, upcasters={"ratings.Rated": leaves_when_malformed}), "it never ends the process: plugin"),
        (plugin_of(ignores, listens=Strict), "unknown fields change nothing: extension ratings"),
        (
            plugin_of(rate, upcasters={"ratings.Rated": lambda event: {**event, "stars": event["stars"] + 1}}),
            "(upcasters leave|the same)",
        ),
        (
            plugin_of(rate, upcasters={"ratings.Rated": lambda event: {"type": event["type"]}}),
            "(no valid event|upcasters give)",
        ),
        (
            plugin_of(rate, panel=Panel("Stars", "run", draws_what_not_every_run_has)),
            "its panels can be drawn: panel 'Stars' of a run without a slice: KeyError: 'total'",
        ),
        (plugin_of(rate, panel=Panel("Stars", "session", draws_no_facts)), "its panels can be drawn: .*block 0, Facts"),
        (plugin_of(rate, panel=Panel("Stars", "run", changes_what_it_draws)), "its panels can be drawn: plugin"),
        (SimpleNamespace(behest_extension=hookspecs.hookimpl(lambda: [][:])), "it loads: behest refuses"),
        (plugin_of(ignores, listens=Binary), "no logs can be drawn .* ratings.Binary: .* give `events` an example"),
    ],
    ids=lambda each: each[:30] if isinstance(each, str) else "",
)
def test_a_plugin_that_breaks_a_rule_is_caught(plugin, rule):
    with pytest.raises(AssertionError) as caught:
        check_plugin(plugin, logs=5)
    assert re.match(rule, str(caught.value)), caught.value


def test_what_cannot_be_drawn_can_be_given():
    check_plugin(plugin_of(ignores, listens=Binary), [{"type": "ratings.Binary", "timestamp": at(1), "data": "YQ=="}])


def test_the_message_shows_the_fewest_events():
    def fails_at_the_second(state, event, run):
        state.count += 1
        if state.count == 2:
            raise RuntimeError

    with pytest.raises(AssertionError) as caught:
        check_plugin(plugin_of(fails_at_the_second))
    assert [line.split()[0] for line in str(caught.value).splitlines()[2:]] == ["1", "2"]
    assert str(caught.value).count('"ratings.Rated"') == 2


def test_hashes_of_another_process_are_caught(tmp_path, monkeypatch):
    (tmp_path / "hashing_plugin.py").write_text(
        "from behest_core.model.events import TextDelta\n"
        "from behest_core.plugins import Extension, ExtensionState\n"
        "from behest_core.plugins import hookimpl\n"
        "class State(ExtensionState):\n"
        "    order: list[str] = []\n"
        "hashing = Extension('hashing', State)\n"
        "@hashing.on(TextDelta)\n"
        "def keep(state, event, run):\n"
        "    state.order = list({*'abcdefgh', *state.order})\n"
        "@hookimpl\n"
        "def behest_extensions():\n"
        "    return [hashing]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import hashing_plugin  # noqa: PLC0415 (it is made here)

    with pytest.raises(AssertionError, match="in another process"):
        check_plugin(hashing_plugin, logs=2)


def test_a_plugin_that_the_functions_could_not_import_is_caught(tmp_path, monkeypatch):
    (tmp_path / "laptop_plugin.py").write_text("import typer\n")
    monkeypatch.syspath_prepend(tmp_path)
    import laptop_plugin  # noqa: PLC0415 (it is made here)

    with pytest.raises(AssertionError, match=r"it loads: .* as in the functions, can't fold with .* typer"):
        check_plugin(laptop_plugin, logs=1)


# ---------------------------------------------------------------- given, when, then


def test_given_when_then():
    run = given(plugin_of(rate), rated(1, stars=1))
    run.then(count=1, total=1)
    run.when(rated(2, stars=3), text_delta()).then(count=2, total=4).then(Ratings(2, 4.0, by_name={"id-1": 2}))
    run.then(count=1)
    assert run.when(model_started()).state.iteration == 1


@pytest.mark.parametrize(
    ("expected", "message"),
    [({"count": 2}, "has {'count': 1}, not {'count': 2}"), ({"wrong": 2}, "no such field")],
)
def test_then_says_what_is_there_instead(expected, message):
    with pytest.raises(AssertionError, match=message):
        given(plugin_of(rate), rated()).then(**expected)


def test_then_parked_names_the_error():
    run = given(plugin_of(raises), rated(stars=6))
    run.then_parked("RuntimeError")
    with pytest.raises(AssertionError, match="parked by RuntimeError, not by ValueError"):
        run.then_parked("ValueError")
    with pytest.raises(AssertionError, match="is parked"):
        run.then(count=0)


def test_with_several_extensions_one_is_named():
    first, second = Extension("first", Ratings), Extension("second", Ratings)

    @second.on(ModelStarted, TextDelta)
    def keep(state, event, run):
        state.count = run.iteration

    both = SimpleNamespace(behest_extensions=hookspecs.hookimpl(lambda: [first, second]))
    given(both, model_started()).then(extension="second", count=1).then(extension="first", count=0)
    with pytest.raises(AssertionError, match=r"which extension.*first.*second"):
        given(both).then(count=0)


def test_drawn_values_are_valid():
    assert msgspec.json.decode(msgspec.json.encode(rated()), type=Rated) == rated()
