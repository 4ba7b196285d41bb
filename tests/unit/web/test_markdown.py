"""What a model wrote, shown as Markdown: nothing it writes can act, load or hide."""

from __future__ import annotations

import re

import pytest

from behest_core.web.markdown import LONGEST, render

BIDI = "\u202e"


def test_a_text_reads_as_it_was_meant():
    assert render("# Plan\n\nIt is **3** degrees, `t<4`.\n\n- a\n- b\n") == (
        '<p class="heading">Plan</p>\n<p>It is <strong>3</strong> degrees, <code>t&lt;4</code>.</p>\n'
        "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"
    )


def test_code_keeps_its_lines():
    assert render("```py\nif a < b:\n    c()\n```") == (
        '<pre><code class="language-py">if a &lt; b:\n    c()\n</code></pre>\n'
    )


def test_a_table_is_a_table():
    assert "<td>1</td>" in render("|a|b|\n|-|-|\n|1|2|\n")


def test_a_link_tells_nobody_from_where_it_was_followed():
    assert render("[a](https://example.org/?q=1)") == (
        '<p><a href="https://example.org/?q=1" rel="noopener noreferrer nofollow">a</a></p>\n'
    )


@pytest.mark.parametrize("link", ["<mailto:a@example.org>", "[a](mailto:a@example.org)", "<http://example.org>"])
def test_a_link_may_open_a_page_or_a_letter(link):
    assert 'rel="noopener noreferrer nofollow"' in render(link)


def test_an_image_is_a_link_so_that_nothing_is_loaded():
    assert render("![a cat](https://example.org/cat.png)") == (
        '<p><a href="https://example.org/cat.png" rel="noopener noreferrer nofollow">a cat (image)</a></p>\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](&#106;avascript:alert(1))",
        "[a](java\tscript:alert(1))",
        "[a](<java\nscript:alert(1)>)",
        "<javascript:alert(1)>",
        "[a][b]\n\n[b]: javascript:alert(1)",
        "![a](javascript:alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "![a](data:image/svg+xml;base64,PHN2Zz4=)",
        "[a](vbscript:x)",
        "[a](file:///etc/passwd)",
        "[a](//example.org)",
        "[a](/runs)",
        "[a](?at=3)",
        "[a](#top)",
    ],
)
def test_a_link_by_another_way_stays_text(text):
    assert "<a" not in render(text)
    assert "<img" not in render(text)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a <b onmouseover=alert(1)>b</b>",
        "<svg/onload=alert(1)>",
        "<iframe src='https://example.org'></iframe>",
        "<!-- a --> <style>*{display:none}</style>",
        "```\n</code></pre><script>alert(1)</script>\n```",
        '```"><script>alert(1)</script>\na\n```',
        "`<script>alert(1)</script>`",
        "|<script>|\n|-|\n|<img src=x>|\n",
        '[a](https://example.org "\\"><script>alert(1)</script>")',
        "[<script>alert(1)</script>](https://example.org)",
        '![" onload="alert(1)](https://example.org)',
        'https://example.org/"onmouseover="alert(1)',
        "&lt;script&gt;alert(1)&lt;/script&gt;",
    ],
)
def test_html_in_a_text_stays_text(text):
    tags = re.findall(r"<(/?[a-z0-9]+)((?: [^>]*)?)>", render(text))
    assert {name.strip("/") for name, _ in tags} <= {
        "p",
        "a",
        "code",
        "pre",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert all(re.fullmatch(r'( (href|rel|title|class)="[^"]*")*', attributes) for _, attributes in tags)


@pytest.mark.parametrize(
    "text", [f"a{BIDI}b", "a&#x202e;b", f"[a{BIDI}b](https://example.org)", f"`a{BIDI}b`", "a\u200bb"]
)
def test_what_cannot_be_seen_is_written_out(text):
    shown = render(text)
    assert BIDI not in shown
    assert "\u200b" not in shown
    assert "\\u20" in shown


def test_of_a_text_without_end_the_beginning_is_shown():
    assert render("a" * (LONGEST + 1)) == f"<p>{'a' * LONGEST}</p>\n"


@pytest.mark.parametrize(
    "text", [">" * 5_000, "[" * 5_000, "- " * 5_000, "*a " * 5_000, "`" * 4_999 + "a", "![" * 5_000]
)
def test_what_nests_without_end_is_shown_as_far_as_it_goes(text):
    assert render(text).count("<blockquote>") + render(text).count("<ul>") <= 20
