"""The documentation as the tests read it: its fenced blocks, tables, links and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_TABLE = re.compile(r"(?:^\|.*\|\n)+", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block. `line` is that of its first line of text, from 1; `output` is what the block right behind it shows."""

    page: str
    language: str
    text: str
    line: int
    output: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Return the names of all pages, from the repository's root."""
    return ["README.md", "CONTRIBUTING.md", "SECURITY.md", *sorted(f"docs/{file.name}" for file in DOCS.glob("*.md"))]


@cache
def text_of(page: str) -> str:
    """Return a page's text."""
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def blocks(page: str, *languages: str) -> list[Block]:
    """Return a page's fenced blocks in these languages, each with the output that is shown right behind it."""
    text = text_of(page)
    fences = list(_FENCE.finditer(text))
    found = []
    for fence, behind in zip_longest(fences, fences[1:]):
        if fence["language"] in languages:
            shown = behind is not None and not text[fence.end() : behind.start()].strip()
            output = behind["text"] if shown and behind["language"] in ("text", "json") else None
            line = text.count("\n", 0, fence.start("text")) + 1
            found.append(Block(page, fence["language"], fence["text"], line, output))
    return found


@cache
def prose(page: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text_of(page))


def part(page: str, heading: str) -> str:
    """Return what stands below a heading, such as ``## Events``, up to the next heading of its level or a higher one."""
    level, _ = heading.split(" ", 1)
    _, found, rest = text_of(page).partition(f"\n{heading}\n")
    assert found, f"{page} has no heading {heading}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(page: str, *columns: str, below: str | None = None) -> list[dict[str, str]]:
    """Return the rows, by column, of the one table with just these columns: of a page, or of the part below a heading."""
    text = prose(page) if below is None else part(page, below)
    found = [table for table in map(_cells, _TABLE.findall(text)) if table[0] == [*columns]]
    assert len(found) == 1, f"{page} has {len(found)} tables with the columns {columns}"
    return [dict(zip(columns, row, strict=True)) for row in found[0][2:]]


def _cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()]


def names(text: str) -> list[str]:
    """Return what stands in backticks."""
    return _CODE.findall(text)


def anchors(page: str) -> set[str]:
    """Return what a link may name behind `#`: the headings, as GitHub spells them."""
    spoken = (_CODE.sub(r"\1", heading).lower() for heading in _HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in spoken}


def links(page: str) -> list[str]:
    """Return the targets of a page's links."""
    return _LINK.findall(prose(page))
