from importlib.metadata import EntryPoint

import pytest

from behest_core.plugins import hookimpl, loading
from behest_core.plugins.loading import Plugin, compiled, load, plugin_from
from tests.unit.test_extension import Other, Requested, approvals, words


class Good:
    @hookimpl
    def behest_event_types(self):
        return [Requested]

    @hookimpl
    def behest_extensions(self):
        return [approvals()]

    @hookimpl
    def behest_upcasters(self):
        return {"approvals.Requested": dict}


def hooks(**functions):
    """Return an object with these hook implementations."""
    return type("Implementation", (), {name: hookimpl(function) for name, function in functions.items()})()


def test_a_plugin_is_what_its_hooks_give():
    plugin = plugin_from(Good(), "approvals", "behest-approvals", "1.0")
    assert plugin.refused is None
    assert plugin.hooks == ("behest_event_types", "behest_extensions", "behest_upcasters")
    assert plugin.event_types == (Requested,)
    assert [each.name for each in plugin.extensions] == ["approvals"]
    assert plugin.upcasters == {"approvals.Requested": dict}


def test_plugins_are_compiled_into_one_table():
    second = plugin_from(hooks(behest_extensions=lambda _: [words()]), "words")
    loaded = compiled([plugin_from(Good(), "approvals"), second])
    assert [each.name for each in loaded.dispatch.extensions] == ["approvals", "words"]
    assert loaded.refused == ()


@pytest.mark.parametrize(
    ("implementation", "reason"),
    [
        (hooks(behest_extension=lambda _: []), "behest_extension"),
        (hooks(behest_extensions=lambda _, stranger: [stranger]), "stranger"),
        (hooks(behest_extensions=lambda _: "words"), "behest_extensions has to return a list of extensions"),
        (hooks(behest_extensions=lambda _: [words]), "behest_extensions has to return a list of extensions"),
        (hooks(behest_event_types=lambda _: [int]), "behest_event_types has to return a list of event classes"),
        (hooks(behest_upcasters=lambda _: {"a": 1}), "behest_upcasters has to return a dict of functions"),
        (hooks(behest_extensions=lambda _: 1 / 0), "ZeroDivisionError"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_plugin_that_is_wrong_is_refused_with_the_reason(implementation, reason):
    plugin = plugin_from(implementation, "mine")
    assert reason in plugin.refused
    assert (plugin.extensions, plugin.event_types) == ((), ())


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (hooks(behest_extensions=lambda _: [approvals()], behest_event_types=lambda _: [Requested]), "name approvals"),
        (hooks(behest_event_types=lambda _: [Other]), "type approvals.Requested"),
        (hooks(behest_upcasters=lambda _: {"approvals.Requested": dict}), "upcaster of approvals.Requested"),
    ],
    ids=["extension", "event type", "upcaster"],
)
def test_the_second_of_two_that_claim_the_same_is_refused_and_the_first_goes_on(second, reason):
    loaded = compiled([plugin_from(Good(), "first"), plugin_from(second, "second")])
    assert [each.name for each in loaded.used] == ["first"]
    assert [each.name for each in loaded.refused] == ["second"]
    assert reason in loaded.refused[0].refused


@pytest.fixture
def installed(monkeypatch):
    """Let packages be installed: entry points by name."""

    def install(**targets):
        points = [EntryPoint(name, target, loading.GROUP) for name, target in targets.items()]
        monkeypatch.setattr(loading, "entry_points", lambda group: points if group == loading.GROUP else [])

    return install


def test_only_what_is_allowed_is_loaded(installed):
    installed(good="tests.unit.test_plugins:GOOD", other="no.such.module")
    assert [each.name for each in load(["good"]).used] == ["good"]
    assert load([]).used == ()


def test_a_star_allows_all_that_are_installed(installed):
    installed(good="tests.unit.test_plugins:GOOD", broken="no.such.module")
    loaded = load(["*"])
    assert [each.name for each in loaded.used] == ["good"]
    assert "no.such.module" in loaded.refused[0].refused


def test_an_allowed_plugin_that_is_not_installed_is_refused(installed):
    installed()
    assert load(["absent"]).refused == (
        Plugin("absent", refused="no installed package has an entry point absent in group behest; install it"),
    )


def test_without_plugins_no_package_is_looked_at(monkeypatch):
    monkeypatch.setattr(loading, "entry_points", lambda **_: pytest.fail("looked"))
    assert load([]).dispatch.extensions == ()


@pytest.mark.parametrize(("text", "names"), [("", []), ("a", ["a"]), (" a, b ,", ["a", "b"]), ("*", ["*"])])
def test_the_allow_list_is_a_variable_of_the_environment(monkeypatch, text, names):
    monkeypatch.setenv("BEHEST_PLUGINS", text)
    assert loading.allowed_by_environment() == names


def test_reactions_may_leave_out_the_change():
    seen = []
    plugin = plugin_from(hooks(behest_run_changed=lambda _: seen.append("called")), "mine")
    plugin.reactions[0](None)
    plugin = plugin_from(hooks(behest_run_changed=lambda _, change: seen.append(change)), "mine")
    plugin.reactions[0]("change")
    assert seen == ["called", "change"]


GOOD = Good()
