"""How numbers, money and times are put into words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from behest_core.wording import age_text, amount, duration_text, time_text, usd_text


@pytest.mark.parametrize(
    ("nano_usd", "expected"),
    [(0, "$0.00"), (1, "$0.00"), (1_000, "$0.000001"), (3_270_000, "$0.00327"), (1_500_000_000, "$1.50"),
     (12_345_678_900, "$12.35"), (9_999_999_999_999, "$10,000.00")],
)  # fmt: skip
def test_money(nano_usd, expected):
    assert usd_text(nano_usd) == expected


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [(0, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (59_940, "59.9 s"), (61_000, "1 min 1 s"), (3_600_000, "1 h 0 min"),
     (7_380_000, "2 h 3 min"), (349_200_000, "4 d 1 h")],
)  # fmt: skip
def test_time_spans(milliseconds, expected):
    assert duration_text(milliseconds) == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [("2026-01-31T12:00:00Z", "just now"), ("2026-01-31T12:00:09Z", "just now"), ("2026-01-31T11:59:30Z", "30 s ago"),
     ("2026-01-31T11:57:00Z", "3 min ago"), ("2026-01-31T07:00:00Z", "5 h ago"), ("2025-01-31T12:00:00Z", "365 d ago"),
     ("noon", "-"), (None, "-")],
)  # fmt: skip
def test_ages(moment, expected):
    assert age_text(moment, datetime(2026, 1, 31, 12, tzinfo=UTC)) == expected


def test_amounts_have_their_plural():
    assert [amount(0, "run"), amount(1, "run"), amount(2_000, "run")] == ["0 runs", "1 run", "2,000 runs"]


def test_a_time_is_in_utc_and_without_zeros():
    assert time_text("2026-01-31T13:00:00.500000000+01:00") == "2026-01-31T12:00:00.5Z"
    assert [time_text("noon"), time_text(None)] == ["noon", "-"]
