"""Bars and lines of numbers as SVG, for plugins' panels. Pure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from markupsafe import Markup

from behest_core.web.text import visible

if TYPE_CHECKING:
    from behest_core.plugins.panels import Bars, Line

_HEIGHT = 60


def bars(block: Bars) -> Markup:
    """Return bars under each other as a table: what each is called, its bar, the text at its end."""
    longest = max((number for _, number, _ in block.bars), default=0) or 1
    rows = [
        f'<tr><th scope="row">{_text(label)}</th><td class="bar"><svg width="100%" height="12" aria-hidden="true">'
        f'<rect class="number" width="{100 * number / longest:.2f}%" height="12" rx="2"/></svg></td><td>{_text(text)}</td></tr>'
        for label, number, text in block.bars
    ]
    return Markup(f'<table class="bars"><tbody>{"".join(rows)}</tbody></table>')  # noqa: S704 (escaped above)


def line(block: Line) -> Markup:
    """Return a line through points, with its first, last and highest in words."""
    numbers = [number for _, number in block.points]
    if not numbers:
        return Markup()
    low, high = min(0, *numbers), max(0, *numbers) or 1
    step = 100 / max(1, len(numbers) - 1)
    height = high - low or 1
    places = " ".join(
        f"{place * step:.2f},{_HEIGHT - _HEIGHT * (number - low) / height:.2f}" for place, number in enumerate(numbers)
    )
    (first, begin), (last, end) = block.points[0], block.points[-1]
    told = f"{_text(first)}: {begin:g}, {_text(last)}: {end:g}, highest {max(numbers):g} {_text(block.unit)}".strip()
    return Markup(  # noqa: S704 (escaped above)
        f'<figure class="line"><svg width="100%" height="{_HEIGHT}" viewBox="0 0 100 {_HEIGHT}" preserveAspectRatio="none"'
        f' aria-hidden="true"><polyline points="{places}"/></svg><figcaption>{told}</figcaption></figure>'
    )


def _text(text: str) -> str:
    return escape(visible(text))
