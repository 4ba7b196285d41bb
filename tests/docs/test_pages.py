"""All pages: their links lead somewhere, and their PartiQL would pass DynamoDB's parser."""

from __future__ import annotations

import re

import pytest
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from behest_core.dynamodb import items
from tests.docs.pages import ROOT, anchors, blocks, links, pages, rows

_ATTRIBUTES = {
    row["Attribute"].strip("`")
    for row in rows("docs/items.md", "Attribute", "Type", "Meaning", "Present", below="## State table")
}
_STATEMENTS = blocks("docs/querying.md", "sql")
_PARTIQL = {"SELECT", "FROM", "WHERE", "AND", "IN", "IS", "NOT", "MISSING", "ORDER", "BY", "DESC"}


@pytest.mark.parametrize("page", pages())
def test_every_link_leads_to_a_page_and_a_heading(page: str):
    for link in links(page):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert file.exists(), link
        if anchor:
            assert anchor in anchors(str(file.relative_to(ROOT))), link


@pytest.mark.parametrize("page", pages())
def test_every_block_says_its_language(page: str):
    assert blocks(page, "") == []


@pytest.mark.parametrize("statement", _STATEMENTS, ids=str)
def test_a_partiql_statement_names_attributes_and_quotes_those_that_are_reserved_words(statement):
    # moto knows neither indexes nor paths in PartiQL, so these can't be run
    text = re.sub(r"'[^']*'", "", statement.text)
    quoted = {*re.findall(r'"([^"]+)"', text)} - {"behest-StateTable", items.BY_SESSION, items.BY_STATUS}
    bare = {*re.findall(r"(?<![\w\".])[a-z_]+(?:\.[a-z_]+)*", re.sub(r'"[^"]*"', "", text), re.IGNORECASE)} - _PARTIQL
    reserved = ReservedKeywords.get_reserved_keywords()
    assert {path.split(".")[0] for path in bare | quoted} <= _ATTRIBUTES
    assert [name for path in bare for name in path.split(".") if name.upper() in reserved] == []
