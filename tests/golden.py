"""Logs of runs with the state that the seed, the Rust crate behest, folded them to: what every fold has to give.

A line of a golden file is ``{"record": …, "events": […], "state": …}``. `seed_fold` is in tests/data. `airline_runs`, which
may not be shipped, is used where a folder with golden files lies beside the repository, or where BEHEST_GOLDEN names one.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet

ROOT = Path(__file__).resolve().parents[1]
SEED_FOLD = ROOT / "tests" / "data" / "seed_fold.jsonl.gz"
NO_AIRLINE_RUNS = "airline_runs.jsonl.gz is not on this machine; BEHEST_GOLDEN names its folder"

_TIMES = ("created_at", "updated_at")
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def airline_runs() -> Path | None:
    """Return the file with the 200 runs of a real agent, None where it is not on this machine."""
    folder = Path(os.environ.get("BEHEST_GOLDEN") or ROOT.parent / "shared" / "golden")
    file = folder / "airline_runs.jsonl.gz"
    return file if file.exists() else None


def golden_files() -> list[ParameterSet]:
    """Return every golden file as a test's parameter; of one that is not on this machine the tests are skipped, and say so."""
    airline = airline_runs()
    missing = pytest.mark.skip(reason=NO_AIRLINE_RUNS)
    return [
        pytest.param(SEED_FOLD, id="seed_fold"),
        pytest.param(airline, id="airline_runs", marks=() if airline else missing),
    ]


def golden_lines(file: Path) -> Iterator[bytes]:
    """Return the lines of a golden file as they are written."""
    with gzip.open(file, "rb") as lines:
        yield from lines


def golden_runs(file: Path) -> Iterator[dict[str, Any]]:
    """Return the lines of a golden file as dicts with `record`, `events` and `state`."""
    yield from map(json.loads, golden_lines(file))


def same_state(expected: dict[str, Any], actual: dict[str, Any]) -> bool:
    """Tell whether two states are the same: times as instants, everything else exactly, 0 and 0.0 being two things."""
    return not differences(expected, actual)


def differences(expected: dict[str, Any], actual: dict[str, Any], *, numbers_by_value: bool = False) -> list[str]:
    """Name each place where two states differ, with both values; an empty list where they are the same.

    With `numbers_by_value`, 0 and 0.0 are the same, as they are to DynamoDB.
    """
    found = []
    for name in [*expected, *(name for name in actual if name not in expected)]:
        if name not in expected or name not in actual:
            where = "actual" if name in actual else "expected"
            found.append(f"{name}: only in the {where} state")
        elif name in _TIMES:
            if instant(expected[name]) != instant(actual[name]):
                found.append(f"{name}: expected {expected[name]}, actual {actual[name]}")
        else:
            found += _differences(name, expected[name], actual[name], by_value=numbers_by_value)
    return found


def _differences(place: str, expected: Any, actual: Any, *, by_value: bool) -> list[str]:
    if isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        pairs = [(f"{place}.{key}", expected[key], actual[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [(f"{place}[{i}]", *both) for i, both in enumerate(zip(expected, actual, strict=True))]
    elif _same_scalar(expected, actual, by_value=by_value):
        return []
    else:
        return [f"{place}: expected {expected!r}, actual {actual!r}"]
    return [line for pair in pairs for line in _differences(*pair, by_value=by_value)]


def _same_scalar(expected: Any, actual: Any, *, by_value: bool) -> bool:
    numbers = {type(expected), type(actual)} <= {int, float}  # type(): True is an int, too
    return expected == actual and (type(expected) is type(actual) or (numbers and by_value))


def instant(text: str) -> tuple[int, int]:
    """Return the seconds since 1970 and the nanoseconds of an RFC 3339 time."""
    match = _RFC3339.fullmatch(text)
    if not match:
        message = f"not an RFC 3339 time: {text!r}"
        raise ValueError(message)
    seconds, fraction, zone = match.groups()
    moment = datetime.fromisoformat(seconds + ("+00:00" if zone == "Z" else zone))
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()), int((fraction or "").ljust(9, "0"))
