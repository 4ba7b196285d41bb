"""What each page shows, and what becomes of what it can't show."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from behest_core.errors import BehestError
from behest_core.plugins import hookimpl
from behest_core.plugins.loading import compiled, plugin_from
from behest_core.plugins.panels import Panel
from behest_core.web import application
from behest_core.web.application import VIEWS, App, Json, Request, _answer
from behest_core.web.openapi import DOCUMENT
from behest_core.web.pages import link
from behest_core.web.security import HEADERS
from tests.docs.pages import names, rows
from tests.web.attacks import ATTACKS
from tests.web.pages import Pages, Tags

PAGES = ["/", "/?error=x", "/?parked=1", "/session?id=s-1", "/waiting", "/health"]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_is_shown_with_the_headers_that_keep_it_safe(pages, address):
    got = pages.get(address)
    assert got.status == 200
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= got.headers.items()


@pytest.mark.parametrize("address", PAGES)
def test_a_page_needs_no_script_and_asks_nobody_else(pages, address):
    tags = Tags(pages.get(address).body).tags
    assert [
        about for tag, about in tags if tag == "script" and not (about.get("src") or "").startswith("/static/")
    ] == []
    assert [about for _, about in tags if "style" in about or any(name.startswith("on") for name in about)] == []
    loaded = [about.get("src") or about.get("href") or "" for tag, about in tags if tag in {"script", "link", "img"}]
    assert all(each.startswith("/static/") for each in loaded)


def test_runs_are_listed_newest_first_with_a_link_to_each(pages):
    body = pages.get("/").body
    places = [body.index(f'href="/run?id=run-{n}"') for n in (3, 2, 1, 0)]
    assert all(one < other for one, other in pairwise(places))


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("status=Failed", "run-0", "run-1"),
        ("error=RATE", "run-0", "run-1"),
        ("agent=agent-2", "run-2", "run-1"),
        ("tag=plain&min_tokens=2000", "run-3", "run-1"),
        ("min_cost=0.005", "run-3", "run-1"),
        ("waiting=1&session=s-1", "run-3", "run-1"),
        ("session=s-1&until=2026-01-31T12:00:01Z", "run-1", "run-2"),
    ],
)
def test_the_address_says_what_is_listed(pages, query, shown, hidden):
    body = pages.get(f"/?{query}").body
    assert f'data-id="{shown}"' in body
    assert f'data-id="{hidden}"' not in body


def test_a_filter_can_be_typed_as_a_command(pages):
    body = pages.get("/?status=Failed&error=it's&min_cost=0.5&parked=1").body
    assert (
        "behest runs --status Failed --error &#39;it&#39;&#34;&#39;&#34;&#39;s&#39; --min-cost 0.5 --parked --stack my-stack"
        in body
    )


def test_a_stuck_run_is_asked_for_in_the_commands_words(pages):
    assert "behest runs --stuck --silent-since 30m --stack my-stack" in Tags(pages.get("/?stuck=30m").body).text


def test_nothing_found_says_what_to_do(pages):
    assert "No run matches" in pages.get("/?model=none").body


def test_columns_are_those_asked_for(pages):
    body = pages.get("/?columns=agent,nonsense,user").body
    assert '<th scope="col" class="agent">' in body
    assert '<th scope="col" class="tokens">' not in body


def test_who_has_the_page_already_is_told_that_it_is_the_same(pages):
    etag = pages.get("/").headers["etag"]
    assert pages.get("/", if_none_match=etag) == (304, pages.get("/", if_none_match=etag).headers, "")
    assert pages.get("/", if_none_match='"other"').status == 200


def test_what_waits_is_listed_oldest_first_with_since_when(pages):
    body = pages.get("/waiting").body
    assert "2026-01-31T12:00:05.000000000Z" in body
    assert body.index('data-id="run-3"') < body.index("2026-01-31T12:00:21.000000000Z")


def test_health_names_plugins_and_tables(pages):
    text = Tags(pages.get("/health").body).text
    assert "behest-cost" in text
    assert "StateTable" in text
    assert "No run is parked" in text


# ---------------------------------------------------------------- what can't be shown


@pytest.mark.parametrize(
    ("address", "status", "reason"),
    [
        ("/nothing", 404, "there is no such page"),
        ("/static/nothing.js", 404, "there is no such file"),
        ("/static/..%2Fpages.py", 404, "there is no such"),
        ("/session", 400, "expected the id of a session"),
        ("/session?id=none", 404, "none"),
        ("/?status=Odd", 400, "expected one of Pending"),
        ("/?since=noon", 400, "expected a time, a date, or an age"),
        ("/?min_tokens=-1", 400, "expected a whole number from 0 on"),
        ("/?min_cost=much", 400, "expected an amount of dollars"),
        ("/?min_cost=nan", 400, "expected an amount of dollars"),
        ("/?stuck=long", 400, "expected a time span"),
        ("/?page=x", 400, "expected a token that a page of runs gave"),
        (f"/?error={'x' * 20_000}", 414, "the address is too long"),
        ("/api/runs/none", 404, "none"),
        (f"/api/runs/{'x' * 300}", 400, "255"),
        ("/api/runs/run-1/state", 400, "expected a sequence such as 40"),
        ("/api/runs/run-1/state?at=noon", 400, "expected a sequence such as 40, or a time"),
        ("/api/runs/run-1/state?at=99", 404, "has no sequence 99"),
        ("/api/runs/run-1/events?after=x", 400, "expected a whole number"),
        ("/api/runs/none/events", 404, "none"),
        ("/api/runs/none/transcript", 404, "none"),
        ("/api/nothing", 404, "there is no such page"),
    ],
)
def test_what_is_asked_wrongly_is_a_page_that_says_so(pages, address, status, reason):
    got = pages.get(address)
    assert got.status == status
    assert reason in Tags(got.body).text
    assert "Traceback" not in got.body
    assert HEADERS["Content-Security-Policy"] == got.headers["content-security-policy"]
    is_json = address.startswith("/api/")
    assert got.headers["content-type"] == ("application/json" if is_json else "text/html; charset=utf-8")


class OddError(BehestError):
    pass


@pytest.mark.parametrize(
    ("error", "status"),
    [(OddError("odd"), 409), (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "Query"), 502)],
)
def test_what_a_view_raises_is_told(web_stack, error, status):
    def view(request, app):
        raise error

    answer = _answer(view, Request("/api/x", {}), App(web_stack.store))
    assert isinstance(answer, Json)
    assert answer.status == status


def test_a_bug_is_told_without_a_traceback(pages, monkeypatch, caplog):
    monkeypatch.setattr(application, "render", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pages.get("/health")
    monkeypatch.undo()
    monkeypatch.setattr("behest_core.web.views.health.version", lambda _: 1 / 0)
    got = pages.get("/health")
    assert (got.status, "this is a bug of behest" in got.body) == (500, True)
    assert "ZeroDivisionError" in caplog.text


# ---------------------------------------------------------------- what agents put anywhere


@pytest.mark.parametrize("address", ["/", "/waiting", "/health", "/?columns=agent,tags,user,session,error,model"])
def test_what_agents_say_is_shown_and_never_done(pages, address):
    got = Tags(pages.get(address).body)
    names = {tag for tag, _ in got.tags}
    assert names.isdisjoint({"iframe", "img", "object", "embed", "b"})
    for tag, about in got.tags:
        assert not any(name.startswith("on") for name in about), (tag, about)
        assert not (about.get("href") or "").strip().lower().startswith("javascript:")
    assert not set(got.text) & {"\u202e", "\u0000", "\u001b"}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_session_has_a_page(pages, attack):
    got = pages.get(link("/session", id=attack))
    assert got.status == 200
    assert "<script>alert" not in got.body
    assert "49" not in Tags(got.body).text.replace("9 s ago", "")[:200]


# ---------------------------------------------------------------- JSON


def test_a_run_is_json_and_costs_one_read(pages, web_stack):
    got = pages.get("/api/runs/run-0")
    assert '"last_error":"rate limited"' in got.body
    assert pages.get("/api/runs/run-0", if_none_match=got.headers["etag"]).status == 304


@pytest.mark.parametrize("attack", [each for each in ATTACKS if "\u0000" not in each and "/" not in each])
def test_a_run_id_is_percent_encoded_in_a_path(pages, attack):
    run_id = f"{attack}{ATTACKS.index(attack)}"
    assert pages.get(f"/api/runs/{quote(run_id, safe='')}").status == 200


def test_events_come_in_pages(pages):
    first = json.loads(pages.get("/api/runs/run-3/events?limit=2").body)
    assert ([each["sequence"] for each in first["events"]], first["after"]) == ([1, 2], 2)
    rest = json.loads(pages.get("/api/runs/run-3/events?after=2").body)
    assert ([each["event"]["type"] for each in rest["events"]], rest["after"]) == (["approvals.Requested"], None)


def test_the_state_as_it_was(pages):
    assert '"sequence":1,' in pages.get("/api/runs/run-3/state?at=1").body
    assert pages.get("/api/runs/run-3/state?at=2026-01-31T12:00:04Z").status == 200


def test_a_transcript_is_json(pages):
    assert '"run_id":"run-3"' in pages.get("/api/runs/run-3/transcript").body


def test_every_address_is_documented():
    shown = [row["Address"] for row in rows("docs/page.md", "Address", "Holds")]
    given = [row["Address"] for row in rows("docs/page.md", "Address", "Gives")]
    assert {each.strip("`") for each in shown + given} == set(VIEWS)


def test_every_filter_is_documented():
    told = {name for row in rows("docs/page.md", "Parameter", "Only runs") for name in names(row["Parameter"])}
    known = {each["name"] for each in DOCUMENT["paths"]["/api/runs"]["get"]["parameters"]}
    assert told == known - {"limit", "page"}


# ---------------------------------------------------------------- panels of plugins


def test_a_session_and_a_list_of_runs_have_what_plugins_show_of_them(pages):
    session, runs = pages.get("/session?id=s-1").body, pages.get("/?session=s-1").body
    for body in (session, runs):
        assert 'aria-label="Waiting for a person"' in body
        assert 'aria-label="Cost"' in body
        assert "c-1" in body
    assert 'aria-label="Lineage"' not in session  # none of them was started by another


def test_a_panel_that_raises_says_so_in_its_place_and_the_page_is_whole(web_stack):
    def breaks(given):
        raise RuntimeError("no panel <b>today</b>")

    plugin = SimpleNamespace(
        behest_panels=hookimpl(lambda: [Panel("Mine", "health", breaks), Panel("Mine", "session", breaks)])
    )
    plugins = compiled([plugin_from(plugin, "mine")])
    shown = Pages(App(web_stack.store, plugins))
    for address in ("/health", "/session?id=s-1"):
        got = shown.get(address)
        assert got.status == 200
        assert "RuntimeError: no panel &lt;b&gt;today&lt;/b&gt;" in got.body
