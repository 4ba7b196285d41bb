"""The local server: only who has the token gets anything, and only by the server's own name."""

from __future__ import annotations

import socket
import threading
from http.client import HTTPConnection

import pytest

from behest_core.web.application import App
from behest_core.web.server import served


@pytest.fixture(scope="module")
def page(web_stack):
    with served(App(web_stack.store)) as found:
        yield found


def ask(page, path="/", method="GET", **headers):
    port = int(page.url.split(":")[2].split("/")[0])
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers={"Host": f"127.0.0.1:{port}", **headers})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def cookie(page):
    _, headers, _ = ask(page, page.url[page.url.index("/?") :])
    return headers["set-cookie"].split(";")[0]


def test_the_link_lets_in_and_its_token_leaves_the_address(page):
    status, headers, body = ask(page, page.url[page.url.index("/?") :] + "&status=Failed")
    assert (status, headers["location"], body) == (303, "/?status=Failed", "")
    assert headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Strict")


def test_a_redirection_never_leads_to_another_host(page):
    _, headers, _ = ask(page, "//evil.example" + page.url[page.url.index("/?") :])
    assert headers["location"] == "/evil.example/"


@pytest.mark.parametrize("path", ["/", "/?token=wrong", "/?token=", "/api/runs", "/static/behest.css", "/nothing"])
@pytest.mark.parametrize("cookie", ["", "behest=x", "behest%d=wrong", 'behest%d="', "=;=;"])
def test_without_the_token_nobody_gets_a_byte_of_a_run(page, path, cookie):
    port = int(page.url.split(":")[2].split("/")[0])
    headers = {"Cookie": cookie.replace("%d", str(port))} if cookie else {}
    status, _, body = ask(page, path, **headers)
    assert status == 403
    assert "open the link that behest ui printed" in body
    assert "run-0" not in body


def test_with_the_cookie_the_page_is_there(page, cookie):
    status, _, body = ask(page, Cookie=cookie)
    assert status == 200
    assert "run-0" in body


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:%d", "[::1]:%d"])
def test_another_name_for_this_machine_is_refused(page, cookie, host):
    port = int(page.url.split(":")[2].split("/")[0])
    status, _, body = ask(page, Cookie=cookie, Host=host.replace("%d", str(port)))
    assert status == 421
    assert "run-0" not in body


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_the_page_only_reads(page, cookie, method):
    assert ask(page, method=method, Cookie=cookie)[0] == 405


def test_an_address_of_megabytes_is_refused(page, cookie):
    assert ask(page, "/?error=" + "x" * 10_000_000, Cookie=cookie)[0] == 414


def test_it_listens_on_this_machine_alone_and_stops_with_its_context(web_stack):
    with served(App(web_stack.store)) as found:
        port = int(found.url.split(":")[2].split("/")[0])
        assert found.url.startswith(f"http://127.0.0.1:{port}/?token=")
    assert not found.thread.is_alive()
    assert found.thread not in threading.enumerate()
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))


def test_a_port_that_is_taken_is_an_error(web_stack):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"), served(App(web_stack.store), taken.getsockname()[1]):
            pass
