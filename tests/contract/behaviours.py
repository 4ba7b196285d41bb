"""What behest takes for granted of DynamoDB, each by name. Every DynamoDB that tests run on has to behave so.

Where one is known to differ it says so on the spot, in `but`. Source: the DynamoDB developer guide and API reference.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from botocore.exceptions import ClientError

KB = 1024


def commit(run: str, sequence: int, **attributes: Any) -> dict[str, Any]:
    return {"run_id": {"S": run}, "sequence": {"N": str(sequence)}} | attributes


def put_commit(dynamodb, sequence, **attributes):
    item = commit(dynamodb.run, sequence, **attributes)
    dynamodb.client.put_item(TableName=dynamodb.event_table, Item=item)
    return item


def state(run: str, revision: int | None = None, **attributes: Any) -> dict[str, Any]:
    return {"run_id": {"S": run}} | ({} if revision is None else {"revision": {"N": str(revision)}}) | attributes


def put_state(dynamodb, revision=None, *, run=None, **attributes):
    item = state(run or dynamodb.run, revision, **attributes)
    dynamodb.client.put_item(TableName=dynamodb.state_table, Item=item)
    return item


def read_state(dynamodb, run=None):
    key = {"run_id": {"S": run or dynamodb.run}}
    return dynamodb.client.get_item(TableName=dynamodb.state_table, Key=key, ConsistentRead=True).get("Item")


def forget(dynamodb):
    """Delete what should not have been taken, and stumbles a scan where it was."""
    dynamodb.client.delete_item(TableName=dynamodb.state_table, Key=state(dynamodb.run))


def save(dynamodb, item, read):
    """Save a state as behest does, on condition of the revision that was read; None for none."""
    request: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(revision)"}
    if read is not None:
        request = {"ConditionExpression": "revision = :read", "ExpressionAttributeValues": {":read": {"N": read}}}
    dynamodb.client.put_item(
        TableName=dynamodb.state_table, Item=item, ReturnValuesOnConditionCheckFailure="ALL_OLD", **request
    )


def append(dynamodb, item, **more):
    dynamodb.client.put_item(
        TableName=dynamodb.event_table, Item=item, ConditionExpression="attribute_not_exists(run_id)", **more
    )


def query(dynamodb, comparison=">=", sequence=0, **more):
    return dynamodb.client.query(
        TableName=dynamodb.event_table,
        KeyConditionExpression=f"#run = :run AND #sequence {comparison} :sequence",
        **{"ConsistentRead": True, "ExpressionAttributeNames": {"#run": "run_id", "#sequence": "sequence"}} | more,
        ExpressionAttributeValues={":run": {"S": dynamodb.run}, ":sequence": {"N": str(sequence)}},
    )


def pages(dynamodb, **more):
    answer = query(dynamodb, **more)
    found = [answer["Items"]]
    while "LastEvaluatedKey" in answer:
        answer = query(dynamodb, **more, ExclusiveStartKey=answer["LastEvaluatedKey"])
        found.append(answer["Items"])
    return found


def sequences(items):
    return [int(item["sequence"]["N"]) for item in items]


def refused(code: str = "ValidationException"):
    return pytest.raises(ClientError, check=lambda error: error.response["Error"]["Code"] == code)


def conflict():
    return refused("ConditionalCheckFailedException")


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


# ---------------------------------------------------------------- conditional writes


def test_of_two_appends_at_one_position_the_first_wins(dynamodb):
    first = commit(dynamodb.run, 1, commit_id={"S": "first"})
    append(dynamodb, first)
    with conflict():
        append(dynamodb, commit(dynamodb.run, 1, commit_id={"S": "second"}))
    assert query(dynamodb)["Items"] == [first]


def test_a_failed_condition_returns_the_item_that_is_there_when_asked_to(dynamodb):
    first = commit(dynamodb.run, 1, commit_id={"S": "first"}, events={"B": b"\x00"})
    append(dynamodb, first)
    with conflict() as told:
        append(dynamodb, first, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert told.value.response["Item"] == first


def test_a_failed_condition_returns_no_item_when_not_asked_to(dynamodb):
    append(dynamodb, commit(dynamodb.run, 1))
    with conflict() as told:
        append(dynamodb, commit(dynamodb.run, 1))
    assert "Item" not in told.value.response


def test_a_failed_condition_returns_no_item_where_there_is_none(dynamodb):
    with conflict() as told:
        save(dynamodb, state(dynamodb.run, 6), read="5")
    assert not told.value.response.get("Item")


def test_a_save_wins_where_the_revision_is_the_one_that_was_read(dynamodb):
    save(dynamodb, state(dynamodb.run, 1), read=None)
    save(dynamodb, state(dynamodb.run, 2), read="1")
    assert read_state(dynamodb) == state(dynamodb.run, 2)


def test_a_save_fails_where_the_revision_is_another_and_changes_nothing(dynamodb):
    there = put_state(dynamodb, 7, status={"S": "Completed"})
    with conflict() as told:
        save(dynamodb, state(dynamodb.run, 7), read="6")
    assert told.value.response["Item"] == there
    assert read_state(dynamodb) == there


def test_a_first_save_fails_where_there_is_a_revision(dynamodb):
    put_state(dynamodb, 1)
    with conflict():
        save(dynamodb, state(dynamodb.run, 1), read=None)


def test_a_first_save_wins_over_an_item_without_revision(dynamodb):
    put_state(dynamodb, None, status={"S": "x"})
    save(dynamodb, state(dynamodb.run, 1), read=None)
    assert read_state(dynamodb) == state(dynamodb.run, 1)


def test_numbers_of_a_condition_are_compared_by_value(dynamodb):
    put_state(dynamodb, 1)
    save(dynamodb, state(dynamodb.run, 2), read="1.0")
    assert read_state(dynamodb) == state(dynamodb.run, 2)


def test_a_delete_leaves_no_item_and_can_be_repeated(dynamodb):
    put_commit(dynamodb, 1)
    put_commit(dynamodb, 2)
    for _ in range(2):
        dynamodb.client.delete_item(TableName=dynamodb.event_table, Key=commit(dynamodb.run, 1))
    assert sequences(query(dynamodb)["Items"]) == [2]
    append(dynamodb, commit(dynamodb.run, 1))


# ---------------------------------------------------------------- reading by key


def test_a_key_without_item_is_answered_without_one(dynamodb):
    assert read_state(dynamodb) is None


def test_a_batch_of_keys_gives_the_items_that_are_there(dynamodb):
    there = [put_state(dynamodb, 1, run=f"{dynamodb.run}-{n}") for n in range(99)]
    keys = [{"run_id": {"S": f"{dynamodb.run}-{n}"}} for n in range(100)]
    answer = dynamodb.client.batch_get_item(RequestItems={dynamodb.state_table: {"Keys": keys, "ConsistentRead": True}})
    assert sorted(map(str, answer["Responses"][dynamodb.state_table])) == sorted(map(str, there))
    assert answer["UnprocessedKeys"] == {}


@pytest.mark.parametrize(("ids", "count"), [("same", 2), ("{}", 101)], ids=["twice the same", "101"])
def test_a_batch_with_too_many_keys_or_one_of_them_twice_is_refused(dynamodb, ids, count):
    keys = [{"run_id": {"S": ids.format(n)}} for n in range(count)]
    with refused():
        dynamodb.client.batch_get_item(RequestItems={dynamodb.state_table: {"Keys": keys}})


# ---------------------------------------------------------------- queries


def test_a_query_gives_one_run_in_order_of_sequence(dynamodb):
    for sequence in (3, 10, 1, 200, 0):
        put_commit(dynamodb, sequence)
    other = commit(f"{dynamodb.run}-other", 2)
    dynamodb.client.put_item(TableName=dynamodb.event_table, Item=other)
    assert sequences(query(dynamodb)["Items"]) == [0, 1, 3, 10, 200]
    assert sequences(query(dynamodb, ScanIndexForward=False)["Items"]) == [200, 10, 3, 1, 0]


@pytest.mark.parametrize(
    ("comparison", "found"), [("=", [3]), (">", [4, 5]), (">=", [3, 4, 5]), ("<", [1, 2]), ("<=", [1, 2, 3])]
)
def test_a_query_can_be_bounded_by_sequence(dynamodb, comparison, found):
    for sequence in range(1, 6):
        put_commit(dynamodb, sequence)
    assert sequences(query(dynamodb, comparison, 3)["Items"]) == found


def test_a_bound_may_have_38_digits(dynamodb):
    put_commit(dynamodb, 1)
    assert sequences(query(dynamodb, "<=", 10**37)["Items"]) == [1]


def test_a_query_for_a_run_that_is_not_there_gives_nothing(dynamodb):
    answer = query(dynamodb)
    assert (answer["Items"], answer["Count"], "LastEvaluatedKey" in answer) == ([], 0, False)


@pytest.mark.parametrize("forward", [True, False])
def test_pages_of_a_limit_join_to_the_whole(dynamodb, forward):
    for sequence in range(7):
        put_commit(dynamodb, sequence)
    found = [sequences(page) for page in pages(dynamodb, Limit=3, ScanIndexForward=forward)]
    whole = list(range(7)) if forward else list(range(7))[::-1]
    assert found == [whole[:3], whole[3:6], whole[6:]]


def test_a_page_that_ends_at_its_limit_says_so_even_where_nothing_is_left(dynamodb):
    put_commit(dynamodb, 0)
    put_commit(dynamodb, 1)
    with dynamodb.but(moto="looks whether something is left"):
        assert query(dynamodb, Limit=2)["LastEvaluatedKey"] == commit(dynamodb.run, 1)


def test_a_page_has_a_megabyte_at_most_and_the_pages_join_to_the_whole(dynamodb):
    for sequence in range(6):
        put_commit(dynamodb, sequence, events={"S": "x" * (300 * KB)})
    found = [sequences(page) for page in pages(dynamodb)]
    assert [each for page in found for each in page] == list(range(6))
    assert max(map(len, found)) <= 4


def test_a_page_is_measured_before_its_attributes_are_chosen(dynamodb):
    for sequence in range(6):
        put_commit(dynamodb, sequence, events={"S": "x" * (300 * KB)})
    names = {"#run": "run_id", "#sequence": "sequence"}
    assert len(pages(dynamodb, ProjectionExpression="#sequence", ExpressionAttributeNames=names)) > 1


def test_a_page_goes_on_behind_a_key_that_is_gone(dynamodb):
    for sequence in (1, 2, 4):
        put_commit(dynamodb, sequence)
    assert sequences(query(dynamodb, ExclusiveStartKey=commit(dynamodb.run, 3))["Items"]) == [4]


def test_a_query_can_choose_attributes(dynamodb):
    put_commit(dynamodb, 1, count={"N": "5"}, events={"S": "[]"})
    put_commit(dynamodb, 6)
    names = {"#run": "run_id", "#sequence": "sequence", "#count": "count"}
    found = query(dynamodb, ProjectionExpression="#sequence, #count", ExpressionAttributeNames=names)["Items"]
    assert found == [{"sequence": {"N": "1"}, "count": {"N": "5"}}, {"sequence": {"N": "6"}}]


# ---------------------------------------------------------------- indexes


def find_in_session(dynamodb, since="0", until="9", **more):
    return dynamodb.client.query(
        TableName=dynamodb.state_table,
        IndexName="by_session",
        KeyConditionExpression="session_id = :value AND created_at BETWEEN :since AND :until",
        ExpressionAttributeValues={":value": {"S": dynamodb.run}, ":since": {"S": since}, ":until": {"S": until}},
        **more,
    )


def put_in_session(dynamodb, name, created_at, revision=1):
    session = {"session_id": {"S": dynamodb.run}, "created_at": {"S": created_at}}
    return put_state(dynamodb, revision, run=f"{dynamodb.run}-{name}", **session)


def test_an_index_gives_the_keys_of_its_items_in_order(dynamodb):
    for created_at in ("2026-03", "2026-01", "2026-02"):
        put_in_session(dynamodb, created_at, created_at)
    put_state(dynamodb, 1, session_id={"S": dynamodb.run})  # it has no created_at, so it is in no such index
    found = find_in_session(dynamodb, ScanIndexForward=False)["Items"]
    assert [item["created_at"]["S"] for item in found] == ["2026-03", "2026-02", "2026-01"]
    assert {frozenset(item) for item in found} == {frozenset({"run_id", "session_id", "created_at"})}


def test_an_index_can_be_bounded_on_both_sides(dynamodb):
    for created_at in ("2026-01", "2026-02", "2026-03", "2026-04"):
        put_in_session(dynamodb, created_at, created_at)
    found = find_in_session(dynamodb, "2026-02", "2026-03")["Items"]
    assert [item["created_at"]["S"] for item in found] == ["2026-02", "2026-03"]


def test_an_index_follows_a_write_that_moves_or_removes_its_item(dynamodb):
    put_in_session(dynamodb, "a", "2026-01")
    put_in_session(dynamodb, "a", "2026-02", revision=2)
    assert [item["created_at"]["S"] for item in find_in_session(dynamodb)["Items"]] == ["2026-02"]
    put_state(dynamodb, 3, run=f"{dynamodb.run}-a")
    assert find_in_session(dynamodb)["Items"] == []


def test_pages_of_an_index_join_to_the_whole_where_sort_keys_are_equal(dynamodb):
    for name in range(5):
        put_in_session(dynamodb, name, "2026-01")
    found, more = [], {}
    while True:
        answer = find_in_session(dynamodb, Limit=2, **more)
        found += [item["run_id"]["S"] for item in answer["Items"]]
        if "LastEvaluatedKey" not in answer:
            break
        more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    assert sorted(found) == [f"{dynamodb.run}-{name}" for name in range(5)]


def test_an_index_cannot_be_read_consistently(dynamodb):
    with refused():
        find_in_session(dynamodb, ConsistentRead=True)


def test_an_index_that_is_not_there_is_refused(dynamodb):
    with dynamodb.but(moto="names another error"), refused():
        dynamodb.client.query(
            TableName=dynamodb.state_table,
            IndexName="by_nothing",
            KeyConditionExpression="run_id = :run",
            ExpressionAttributeValues={":run": {"S": dynamodb.run}},
        )


# ---------------------------------------------------------------- scans


def scanned(dynamodb, run, **request):
    """Scan in pages, and give the ids that begin with the run's, each as often as it is met."""
    found, more = [], {}
    while True:
        answer = dynamodb.client.scan(**request, **more)
        found += [item["run_id"]["S"] for item in answer["Items"]]
        if "LastEvaluatedKey" not in answer:
            return sorted(each for each in found if each.startswith(run))
        more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_of_a_scan_join_to_the_whole(dynamodb, limit):
    for name in range(5):
        put_state(dynamodb, 1, run=f"{dynamodb.run}-{name}")
    found = scanned(dynamodb, dynamodb.run, TableName=dynamodb.state_table, ProjectionExpression="run_id", Limit=limit)
    assert found == [f"{dynamodb.run}-{name}" for name in range(5)]


def test_a_scan_of_an_index_gives_what_has_its_keys(dynamodb):
    for name in range(3):
        put_in_session(dynamodb, name, "2026-01")
    put_state(dynamodb, 1, run=f"{dynamodb.run}-x")
    found = scanned(dynamodb, dynamodb.run, TableName=dynamodb.state_table, IndexName="by_session", Limit=2)
    assert found == [f"{dynamodb.run}-{name}" for name in range(3)]


# ---------------------------------------------------------------- expressions


def test_a_reserved_word_must_not_stand_for_itself(dynamodb):
    with dynamodb.but(ministack="takes reserved words in projections"), refused():
        query(dynamodb, ProjectionExpression="count")


def test_a_placeholder_that_is_not_defined_is_refused(dynamodb):
    with dynamodb.but(moto="ignores those of projections"), refused():
        query(dynamodb, ProjectionExpression="#nothing")


def test_a_placeholder_that_is_not_used_is_refused(dynamodb):
    names = {"#run": "run_id", "#sequence": "sequence", "#count": "count"}
    with refused():
        query(dynamodb, ExpressionAttributeNames=names)


# ---------------------------------------------------------------- tables


def test_a_table_that_is_there_is_active(dynamodb):
    assert dynamodb.client.describe_table(TableName=dynamodb.event_table)["Table"]["TableStatus"] == "ACTIVE"


def test_a_table_that_is_not_there_is_not_found(dynamodb):
    with refused("ResourceNotFoundException"):
        dynamodb.client.describe_table(TableName="nothing")
    with refused("ResourceNotFoundException"):
        dynamodb.client.put_item(TableName="nothing", Item=commit(dynamodb.run, 1))


# ---------------------------------------------------------------- streams


def heads(records):
    return [(record["eventName"], record["dynamodb"]["Keys"]["sequence"]["N"]) for record in records]


def test_each_write_that_changes_something_is_one_record_in_order(dynamodb):
    put_commit(dynamodb, 2)
    put_commit(dynamodb, 1)
    put_commit(dynamodb, 1)
    put_commit(dynamodb, 1, count={"N": "1"})
    dynamodb.client.delete_item(TableName=dynamodb.event_table, Key=commit(dynamodb.run, 2))
    dynamodb.client.delete_item(TableName=dynamodb.event_table, Key=commit(dynamodb.run, 2))
    expected = [("INSERT", "2"), ("INSERT", "1"), ("MODIFY", "1"), ("REMOVE", "2")]
    needless = "writes a record for a write that changes nothing"
    with dynamodb.but(moto=needless):
        assert heads(dynamodb.records()) == expected
    numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in dynamodb.records()]
    assert numbers == sorted(set(numbers))


def test_a_write_that_fails_is_no_record(dynamodb):
    append(dynamodb, commit(dynamodb.run, 1))
    with conflict():
        append(dynamodb, commit(dynamodb.run, 1, count={"N": "1"}))
    assert heads(dynamodb.records()) == [("INSERT", "1")]


def test_a_record_brings_the_new_item_as_json_can_hold_it_and_not_the_old_one(dynamodb):
    put_commit(dynamodb, 1)
    put_commit(dynamodb, 1, count={"N": "3"}, events={"B": b"\x00\xff"})
    data = dynamodb.records()[-1]["dynamodb"]
    assert data["Keys"] == commit(dynamodb.run, 1)
    assert data["NewImage"] == commit(dynamodb.run, 1, count={"N": "3"}, events={"B": b64encode(b"\x00\xff").decode()})
    assert "OldImage" not in data
