from datetime import UTC, datetime, timedelta, timezone

import pytest

from behest_core.model.timestamps import as_text, canonical, from_datetime, to_datetime


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000000Z"),
        ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.500000000Z"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456789Z"),
        ("2026-01-31T12:00:00.1234567899Z", "2026-01-31T12:00:00.123456789Z"),
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00.000000000Z"),
        ("2026-01-31 12:00:00.5+02:30", "2026-01-31T09:30:00.500000000Z"),
        ("2026-01-31T12:00:00-02:30", "2026-01-31T14:30:00.000000000Z"),
    ],
)
def test_equal_instants_have_one_text(written, expected):
    assert canonical(written) == expected


def test_texts_sort_by_time():
    times = ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5Z", "2026-01-31T13:00:00+00:30", "2026-01-31T12:30:00.1Z"]
    assert sorted(map(canonical, times)) == list(map(canonical, times))


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "yesterday",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-13-31T12:00:00Z",
        "2026-01-31T12:00:00+25:00",
        "0001-01-01T00:00:00+01:00",
        "2026-01-31T12:00:00.Z",
        "٢٠٢٦-01-31T12:00:00Z",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(wrong):
    with pytest.raises(ValueError, match=r"time|offset|month"):
        canonical(wrong)


def test_a_datetime_goes_there_and_back():
    moment = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert from_datetime(moment) == "2026-01-31T10:00:00.123456Z"
    assert to_datetime(from_datetime(moment)) == moment
    assert to_datetime("2026-01-31T10:00:00.123456789Z").tzinfo is UTC


def test_a_datetime_without_time_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        as_text(datetime(2026, 1, 31))  # noqa: DTZ001 (that is the point)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.5Z",
        "2026-01-31T12:00:00.1234567899Z",
        f"2026-01-31T12:00:00.{'1' * 40}Z",
        f"2026-01-31T12:00:00.{'1' * 41}Z",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00.5+01:00Z",
        "2026-01-31T12:00:00.5-01Z",
        "2026-01-31T12:00:00.5.5Z",
        "2026-01-31T12:00:00.\u0665Z",
        "2026-01-31T12:00:00..5Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T24:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31 12:00:00Z",
        "2026-W05-6T12:00:00Z",
        "20260131T120000Z",
        "+026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.5z",
    ],
)
def test_a_datetime_is_read_from_what_has_a_canonical_form_and_from_nothing_else(text):
    try:
        expected = datetime.fromisoformat(canonical(text))
    except ValueError:
        with pytest.raises(ValueError, match=r"time|offset|month|day|second|hour"):
            to_datetime(text)
    else:
        assert to_datetime(text) == expected
