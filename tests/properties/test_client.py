"""The client that behest makes writes and reads whatever an item may hold, as botocore's own does."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.answering import Answering

texts = st.text(max_size=8)
numbers = st.integers(-(10**37), 10**37).map(str) | st.sampled_from(["1E-130", "0.1", "9.99E+125", "-0"])
binaries = st.binary(max_size=8)
scalars = st.one_of(
    st.builds(lambda value: {"S": value}, texts),
    st.builds(lambda value: {"N": value}, numbers),
    st.builds(lambda value: {"B": value}, binaries),
    st.builds(lambda value: {"BOOL": value}, st.booleans()),
    st.just({"NULL": True}),
    st.builds(lambda value: {"SS": value}, st.lists(texts, max_size=3)),
    st.builds(lambda value: {"NS": value}, st.lists(numbers, max_size=3)),
    st.builds(lambda value: {"BS": value}, st.lists(binaries, max_size=3)),
)
attributes = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(lambda value: {"L": value}, st.lists(inner, max_size=4)),
        st.builds(lambda value: {"M": value}, st.dictionaries(texts, inner, max_size=4)),
    ),
    max_leaves=12,
)
drawn_items = st.dictionaries(texts, attributes, max_size=6)


@cache
def clients() -> tuple[Answering, Answering]:
    """Return both, the same for all examples: to make one takes longer than to ask it a hundred times."""
    return Answering(), Answering(as_botocore=True)


@given(drawn_items)
def test_an_item_is_written_as_botocore_writes_it(item: dict[str, Any]) -> None:
    ours, botocores = clients()
    for each in (ours, botocores):
        each.answer(b"{}")
        each.client.put_item(TableName="states", Item=item)
    assert json.loads(ours.asked.body) == json.loads(botocores.asked.body)


@given(st.lists(drawn_items, max_size=4), st.booleans())
def test_items_are_read_as_botocore_reads_them(drawn: list[dict[str, Any]], escaped: bool) -> None:  # noqa: FBT001 (drawn)
    page = json.dumps(
        {"Items": drawn, "Count": len(drawn), "LastEvaluatedKey": {"run_id": {"S": "r"}}},
        default=lambda binary: b64encode(binary).decode(),
        ensure_ascii=escaped,
    )
    for each in clients():
        each.answer(page.encode())
    ours, botocores = (each.client.query(TableName="states") for each in clients())
    assert ours == botocores
    assert ours["Items"] == drawn


@given(drawn_items)
def test_what_a_failed_condition_found_is_read_as_botocore_reads_it(item: dict[str, Any]) -> None:
    body = json.dumps(
        {"__type": "#ConditionalCheckFailedException", "message": "failed", "Item": item},
        default=lambda binary: b64encode(binary).decode(),
    )
    found = []
    for each in clients():
        each.answer(body.encode(), status=400)
        try:
            each.client.put_item(TableName="states", Item=item, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except each.client.exceptions.ConditionalCheckFailedException as error:
            found.append(error.response)
    assert found[0] == found[1]
    assert found[0]["Item"] == item
