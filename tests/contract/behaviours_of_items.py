"""What items DynamoDB takes, and how it gives them back. Part of the contract: see behaviours.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.calls import KB, forget, put_commit, put_state, query, read_state, refused, sequences

# ---------------------------------------------------------------- items


def test_an_item_comes_back_as_it_was_written(dynamodb):
    attributes = {
        "session_id": {"S": "session-1"},
        "metadata": {
            "M": {"list": {"L": [{"N": "1"}, {"NULL": True}, {"BOOL": False}, {"S": ""}]}, "empty": {"M": {}}}
        },
        "text": {"S": ""},
        "binary": {"B": b"\x00\xff"},
        "日本": {"S": "\N{GRINNING FACE}"},
    }
    written = put_state(dynamodb, 1, **attributes)
    assert read_state(dynamodb) == written


def test_what_is_read_shares_nothing_with_what_was_written(dynamodb):
    written = put_state(dynamodb, 1, metadata={"M": {"a": {"L": []}}})
    written["metadata"]["M"]["a"]["L"].append({"S": "changed"})
    read_state(dynamodb)["metadata"]["M"]["b"] = {"S": "changed"}
    assert read_state(dynamodb)["metadata"] == {"M": {"a": {"L": []}}}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0", "0"),
        ("007", "7"),
        ("-0", "0"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("1E-7", "0.0000001"),
        ("9" * 38, "9" * 38),
    ],
)
def test_a_number_comes_back_without_needless_zeros_and_exponent(dynamodb, written, read):
    put_state(dynamodb, 1, number={"N": written})
    if written == read:
        assert read_state(dynamodb)["number"] == {"N": read}
        return
    with dynamodb.but(moto="keeps the text of a number"):
        assert read_state(dynamodb)["number"] == {"N": read}


@pytest.mark.parametrize("number", ["1" * 39, "1e126", "1e-131"])
def test_a_number_beyond_38_digits_or_the_range_is_refused(dynamodb, number):
    differing = {} if "-" in number else {"moto": "takes any large number"}
    with dynamodb.but(**differing), refused():
        put_state(dynamodb, 1, number={"N": number})
    forget(dynamodb)


def test_an_item_of_400_kb_is_the_largest(dynamodb):
    # the names and values beside the text: run_id, sequence and events, and the number 1 in two bytes
    beside = len("run_id" + dynamodb.run + "sequence" + "events") + 2
    with dynamodb.but(moto="has a limit of 405,000 bytes"):
        put_commit(dynamodb, 1, events={"S": "x" * (400 * KB - beside)})
        assert len(query(dynamodb)["Items"]) == 1
    with refused():
        put_commit(dynamodb, 2, events={"S": "x" * (400 * KB + 1)})
    assert 2 not in sequences(query(dynamodb)["Items"])


def test_a_value_nested_deeper_than_32_levels_is_refused(dynamodb):
    value: dict[str, Any] = {"S": "x"}
    for _ in range(33):
        value = {"L": [value]}
    with dynamodb.but(moto="takes any nesting"), refused():
        put_state(dynamodb, 1, metadata=value)


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    "key",
    [
        {"run_id": {"S": ""}, "sequence": {"N": "1"}},
        {"run_id": {"N": "1"}, "sequence": {"N": "1"}},
        {"run_id": {"S": "run"}, "sequence": {"S": "1"}},
        {"run_id": {"S": "run"}},
        {"run_id": {"S": "x" * 2049}, "sequence": {"N": "1"}},
    ],
    ids=["empty", "wrong hash type", "wrong range type", "missing", "too long"],
)
def test_an_item_whose_key_is_empty_wrong_missing_or_too_long_is_refused(dynamodb, key):
    with refused():
        dynamodb.client.put_item(TableName=dynamodb.event_table, Item=key)


@pytest.mark.parametrize("attribute", [{"S": ""}, {"N": "1"}], ids=["empty", "wrong type"])
def test_an_item_whose_index_key_is_empty_or_of_another_type_is_refused(dynamodb, attribute):
    differing = {"moto": "takes any type"} if "N" in attribute else {}
    with dynamodb.but(**differing), refused():
        put_state(dynamodb, 1, session_id=attribute, created_at={"S": "2026"})
    forget(dynamodb)


def test_keys_are_told_apart_by_value_not_by_text(dynamodb):
    put_commit(dynamodb, 7, events={"S": "first"})
    dynamodb.client.put_item(
        TableName=dynamodb.event_table, Item={"run_id": {"S": dynamodb.run}, "sequence": {"N": "7.0"}}
    )
    assert len(query(dynamodb)["Items"]) == 1
