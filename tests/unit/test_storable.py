from typing import Any, Literal, Optional

import pytest
from msgspec import Struct

from behest_core.errors import InvalidValueError, StateTooLargeError
from behest_core.model.json import check_storable, is_plain_type
from behest_core.model.limits import METADATA_BYTES, TEXT_BYTES, check_metadata_size, check_text_size, stored_size


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": None, "b": [None, {"c": None}]},
        "",
        [""],
        {},
        [],
        True,
        0.1,
        -0.0,
        1.7976931348623157e125,
        5e-130,
        10**38 - 1,
        10**60,
        -(10**38 - 1),
        nested(30),
        "\x00\x1f日本",
    ],
)
def test_what_dynamodb_keeps_without_loss_is_storable(value):
    check_storable(value, "metadata")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": float("nan")}, "metadata.a"),
        ([1, float("inf")], "metadata[1]"),
        ({"a": [{"b": 10**38 + 1}]}, "metadata.a[0].b"),
        (1e126, "metadata"),
        (1e-131, "metadata"),
        (10**126, "metadata"),
        ({"a": {"x"}}, "metadata.a"),
        ({"a": b"x"}, "metadata.a"),
        ({"a": (1, 2)}, "metadata.a"),
        ({1: 2}, "metadata"),
        ({"a": {"": 1}}, "metadata.a"),
        ({"a": "\ud800"}, "metadata.a"),
        (nested(31), "metadata" + "[0]" * 30),
    ],
)
def test_what_dynamodb_would_change_or_refuse_is_refused_with_its_path(value, path):
    with pytest.raises(InvalidValueError) as caught:
        check_storable(value, "metadata")
    assert caught.value.path == path


def test_a_size_is_never_below_what_dynamodb_counts_and_each_value_has_21_bytes_of_it():
    assert stored_size({"ab": "é", "c": [1, None, True]}) == (21 + 2) + 2 + 21 + 1 + (21 + 3) + 3 * 21
    assert stored_size(["é" * 20, ""]) == (21 + 2) + 40 + 21


def test_metadata_and_texts_have_a_share_each():
    check_metadata_size("run-1", "x" * METADATA_BYTES)
    check_text_size("run-1", "x" * TEXT_BYTES, None)
    with pytest.raises(StateTooLargeError, match="run run-1"):
        check_metadata_size("run-1", ["x" * METADATA_BYTES])
    with pytest.raises(StateTooLargeError):
        check_text_size("run-1", "é" * (TEXT_BYTES // 2), "x")


class Tree(Struct):
    name: str = ""
    left: Optional["Tree"] = None


@pytest.mark.parametrize(
    ("value_type", "expected"),
    [
        (int, True),
        (Literal["a", "b"] | None, True),
        (dict[str, list[dict[str, int | None]]], True),
        (float, False),
        (dict[int, str], False),
        (int | str, False),
        (list[float | None], False),
        (tuple[int, ...], False),
        (Any, False),
        (Tree, False),
    ],
)
def test_a_type_is_plain_whose_json_needs_no_closer_look(value_type, expected):
    assert is_plain_type(value_type) is expected


def test_a_type_that_nests_deeper_than_dynamodb_is_not_plain():
    def lists(levels):
        return list[lists(levels - 1)] if levels else int

    assert (is_plain_type(lists(29)), is_plain_type(lists(31))) == (True, False)
