"""The comparison that the golden tests stand on: it must see every difference, and none where there is none."""

import pytest

from tests.golden import SEED_FOLD, differences, golden_runs, instant, same_state

STATE = {"status": "Completed", "metadata": {"cost": 0.5, "tags": [1, True]}, "created_at": "2026-01-01T00:00:00.1Z"}


def state(**changes):
    return {**STATE, **changes}


def test_a_state_is_the_same_as_itself():
    assert same_state(STATE, state())


@pytest.mark.parametrize(
    "written", ["2026-01-01T00:00:00.100000000Z", "2026-01-01T01:00:00.10+01:00", "2025-12-31T19:00:00.1-05:00"]
)
def test_the_same_instant_may_be_written_differently(written):
    assert same_state(STATE, state(created_at=written))


def test_a_nanosecond_is_a_difference():
    assert differences(STATE, state(created_at="2026-01-01T00:00:00.100000001Z")) == [
        "created_at: expected 2026-01-01T00:00:00.1Z, actual 2026-01-01T00:00:00.100000001Z"
    ]


def test_instants_before_1970_are_exact_as_well():
    assert instant("1969-12-31T23:59:59.999999999Z") == (-1, 999_999_999)


@pytest.mark.parametrize("text", ["2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z", "now"])
def test_what_is_no_rfc_3339_time_is_refused(text):
    with pytest.raises(ValueError, match="not an RFC 3339 time"):
        instant(text)


@pytest.mark.parametrize(
    ("metadata", "difference"),
    [
        ({"cost": 0.5, "tags": [1, 1]}, "metadata.tags[1]: expected True, actual 1"),
        ({"cost": 0.5, "tags": [1.0, True]}, "metadata.tags[0]: expected 1, actual 1.0"),
        ({"cost": None, "tags": [1, True]}, "metadata.cost: expected 0.5, actual None"),
        ({"cost": 0.5, "tags": "1"}, "metadata.tags: expected [1, True], actual '1'"),
    ],
)
def test_a_difference_is_named_by_its_place(metadata, difference):
    assert differences(STATE, state(metadata=metadata)) == [difference]


def test_a_field_that_only_one_has_is_a_difference():
    assert differences(STATE, {**STATE, "extra": 1}) == ["extra: only in the actual state"]
    assert differences({**STATE, "extra": None}, STATE) == ["extra: only in the expected state"]


def test_by_value_a_whole_float_is_an_int_but_true_is_no_one():
    by_value = {"numbers_by_value": True}
    assert not differences({"iteration": 0.0}, {"iteration": 0}, **by_value)
    assert differences({"iteration": True}, {"iteration": 1}, **by_value)
    assert differences({"iteration": 2**53 + 1}, {"iteration": float(2**53)}, **by_value)


def test_the_golden_file_in_the_repository_is_whole():
    runs = list(golden_runs(SEED_FOLD))
    assert len(runs) == 400
    assert all(run.keys() == {"record", "events", "state"} for run in runs)
