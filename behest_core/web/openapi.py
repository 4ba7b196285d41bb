"""The OpenAPI document of the JSON that the page gives, made from the classes whose values are sent."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from behest_core.model.state import RunState, RunStatus
from behest_core.model.summary import Summary
from behest_core.transcript.entries import Transcript


class RunList(Struct):
    """A page of runs. `page` goes on behind it, null at the end; `looked_at` runs were looked at for it."""

    runs: list[Summary]
    looked_at: int
    page: str | None


class LoggedEvent(Struct):
    """An event as it lies in the log: a JSON object with `type` and `timestamp`."""

    sequence: int
    committed_at: str
    event: dict[str, Any]


class EventList(Struct):
    """A page of events. `after` goes on behind it, null at the end."""

    events: list[LoggedEvent]
    after: int | None


class Failure(Struct):
    """Why there is no answer."""

    error: str


_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer", "minimum": 0}
_SPAN: Final = {"type": "string", "pattern": "^([0-9]{1,6}[smhdw])?$"}


def _parameter(name: str, schema: dict[str, Any], description: str, place: str = "query") -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": description}


_RUN: Final = _parameter("run_id", _TEXT, "the run's id, percent-encoded", "path")
_FILTERS: Final = [
    _parameter("status", {"type": "string", "enum": [each.value for each in RunStatus]}, "the run's status"),
    *(_parameter(name, _TEXT, f"the run's {name}") for name in ("session", "model", "agent", "tag", "user")),
    _parameter("error", _TEXT, "a part of the error's text, in any case"),
    _parameter("since", _TEXT, "created since: a time, a date, or an age such as 2h"),
    _parameter("until", _TEXT, "created until: likewise"),
    _parameter("parked", _TEXT, "any value: parked runs only, the latest first"),
    _parameter("waiting", _TEXT, "any value: runs that wait for a person only"),
    _parameter("stuck", _SPAN, "active runs that have told nothing for so long"),
    _parameter("min_cost", _TEXT, "dollars that the run cost at least"),
    _parameter("min_tokens", _WHOLE, "tokens that it used at least"),
    _parameter("min_duration", _SPAN, "how long it lasted at least"),
    _parameter("limit", {"type": "integer", "minimum": 1}, "runs in the answer, 50 by default and 200 at most"),
    _parameter("page", _TEXT, "the token of the page before"),
]


def _operation(summary: str, answer: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    def content(name: str) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}

    failures = {
        "400": "a value is none",
        "404": "there is no such run",
        "409": "the log can't be read so",
        "410": "it was deleted",
    }
    responses: dict[str, Any] = {"200": {"description": "found", "content": content(answer)}}
    failures["default"] = "AWS did not answer, or behest has a bug"
    responses |= {code: {"description": why, "content": content("Failure")} for code, why in failures.items()}
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


def _document() -> dict[str, Any]:
    answers = (RunList, RunState, EventList, Transcript, Failure)
    _, components = msgspec.json.schema_components(answers, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "behest", "version": "1", "description": "Agent runs: their states, logs and conversations."},
        "paths": {
            "/api/runs": _operation("List runs", "RunList", _FILTERS),
            "/api/runs/{run_id}": _operation("A run's state", "RunState", [_RUN]),
            "/api/runs/{run_id}/events": _operation(
                "A run's events",
                "EventList",
                [
                    _RUN,
                    _parameter("after", _WHOLE, "the sequence behind which to begin"),
                    _parameter("limit", {"type": "integer", "minimum": 1}, "events, 200 by default and 1,000 at most"),
                ],
            ),
            "/api/runs/{run_id}/transcript": _operation("A run as a conversation", "Transcript", [_RUN]),
            "/api/runs/{run_id}/state": _operation(
                "A run's state as it was",
                "RunState",
                [_RUN, {**_parameter("at", _TEXT, "a sequence, or a time"), "required": True}],
            ),
        },
        "components": {"schemas": components},
    }


DOCUMENT: Final = _document()
