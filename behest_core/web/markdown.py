"""What a model wrote, as HTML that can't do anything: its text is hostile, as whoever talks to an agent can make it say things.

- HTML in it is shown as text. Links lead to http, https and mailto only; all else stays the text that it is.
- An image is shown as a link to it: a page that loaded it would tell a stranger who looks at the run, and when.
- What can't be seen, such as marks that reorder text, is written out.
- A heading is a paragraph of its own class: the page's outline is the page's.
- It is bounded: of a longer text than LONGEST characters the beginning is rendered, and what nests too deep stays text.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt

from behest_core.web.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

LONGEST: Final = 20_000
"""How many characters of a text are rendered: more takes the time of a page for itself."""

_SCHEMES: Final = frozenset({"http", "https", "mailto"})
_DEEPEST: Final = 20
_REL: Final = "noopener noreferrer nofollow"


def render(text: str) -> str:
    """Return the HTML of a text in Markdown, of its beginning where it is longer than LONGEST characters."""
    return visible(_markdown.render(text[:LONGEST]))  # not before: an entity may be what can't be seen


def _leads_out(url: str) -> bool:
    """Return whether a link may be followed: to another site, by a scheme that only opens a page or a letter."""
    try:
        return urlsplit(url.strip()).scheme.lower() in _SCHEMES
    except ValueError:
        return False


def _image(renderer: RendererHTML, tokens: Sequence[Token], place: int, *_: Any) -> str:  # noqa: ANN401, ARG001 (the library's signature)
    image = tokens[place]
    url = str(image.attrs.get("src", ""))
    return f'<a href="{escape(url)}" rel="{_REL}">{escape(image.content or url)} (image)</a>'


def _link(renderer: RendererHTML, tokens: Sequence[Token], place: int, options: Any, env: Any) -> str:  # noqa: ANN401 (the same)
    tokens[place].attrSet("rel", _REL)
    return str(renderer.renderToken(tokens, place, options, env))


def _heading(renderer: RendererHTML, tokens: Sequence[Token], place: int, *_: Any) -> str:  # noqa: ANN401, ARG001 (the same)
    return '<p class="heading">' if tokens[place].nesting > 0 else "</p>\n"


def _made() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
    markdown.validateLink = _leads_out  # type: ignore[method-assign]  # how the library is told which links to make
    markdown.add_render_rule("image", _image)
    markdown.add_render_rule("link_open", _link)
    markdown.add_render_rule("heading_open", _heading)
    markdown.add_render_rule("heading_close", _heading)
    return markdown


_markdown: Final = _made()
