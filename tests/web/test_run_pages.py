"""The pages of one run, its tree, and two runs side by side."""

from __future__ import annotations

import pytest

from behest_core.web.pages import link
from tests.web.attacks import ATTACKS
from tests.web.pages import Tags

OF_A_RUN = ("/run", "/run/events", "/run/at", "/run/slices", "/run/tree")
HOSTILE = [f"{attack}{n}" for n, attack in enumerate(ATTACKS)]


@pytest.mark.parametrize("path", OF_A_RUN)
def test_a_run_has_its_pages(pages, path):
    got = pages.get(link(path, id="run-0"))
    assert got.status == 200
    text = Tags(got.body).text
    assert "run-0" in text
    assert "rate limited" in text


@pytest.mark.parametrize("path", OF_A_RUN)
@pytest.mark.parametrize("run_id", HOSTILE)
def test_what_agents_say_is_shown_and_never_done(pages, path, run_id):
    got = pages.get(link(path, id=run_id))
    assert got.status == 200
    page = Tags(got.body)
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "img", "object", "embed"})
    for tag, about in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in about), (tag, about)
        address = (about.get("href") or about.get("src") or "").strip().lower()
        assert not address.startswith(("javascript:", "data:", "//", "http:", "https:")), (tag, about)
        assert tag != "script" or (about.get("src") or "").startswith("/static/")
    assert not set(page.text) & {"\u202e", "\u0000", "\u001b"}


def test_two_runs_are_compared(pages):
    got = pages.get(link("/compare", one="run-0", other="run-3"))
    assert got.status == 200
    assert Tags(got.body).text.count("run-3") > 0


def test_who_has_a_run_already_is_told_that_it_is_the_same(pages):
    etag = pages.get("/run?id=run-1").headers["etag"]
    assert pages.get("/run?id=run-1", if_none_match=etag).status == 304


def test_the_state_as_of_an_event_is_shown(pages):
    text = Tags(pages.get("/run/at?id=run-3&at=2").body).text
    assert "UsageRecorded" in text
    assert "3000" in text
    assert "approvals.Requested" not in text


def test_events_are_of_one_type_where_that_is_asked_for(pages):
    body = Tags(pages.get("/run/events?id=run-3&type=UsageRecorded").body).text
    assert "UsageRecorded" in body
    assert '"RunStarted"' not in body


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/run", 400),
        ("/run?id=none", 404),
        (f"/run?id={'x' * 300}", 400),
        ("/run/at?id=run-3&at=99", 404),
        ("/run/at?id=run-3&at=x", 400),
        ("/run/events?id=run-3&after=-1", 400),
        ("/run/tree?id=none", 404),
        ("/compare?one=run-1&other=none", 404),
    ],
)
def test_what_is_asked_wrongly_is_a_page_that_says_so(pages, address, status):
    got = pages.get(address)
    assert got.status == status
    assert "Traceback" not in got.body
