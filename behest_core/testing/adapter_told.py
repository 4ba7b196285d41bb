"""What the logs of a script's runs tell of its model calls, and what the stage counted, in what is compared.

Calls are compared whole: what a call was sent, said and used has to be told of the same call, whatever went on beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from behest_core.model.agent_events import ModelRequested
from behest_core.model.conversation import Requests
from behest_core.model.decoding import core_decoder
from behest_core.testing.adapter_stage import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.testing.adapter_stage import Answer, Stage
    from behest_core.testing.recorded import Recorded

    Event = dict[str, Any]

CALL_ENDS: Final = ("agent.ModelFinished", "agent.ModelFailed")


class Call(NamedTuple):
    """A model call, as the logs or the stage tell it, in what is compared."""

    model: str
    request: str
    text: str
    reasoning: str
    tool_calls: tuple[str, ...]
    usage: tuple[int, ...]
    ending: str


class Told:
    """What the logs of a script's runs tell of its model calls, and what the stage counted."""

    def __init__(self, runs: list[Recorded], stage: Stage) -> None:
        self.runs, self.stage = runs, stage
        self.calls = [call for run in runs for call in _calls_of(run)]
        self.counted = [_counted(each) for each in stage.calls]

    def events(self, *kinds: str) -> list[Event]:
        """Return the events of these types, of all runs."""
        return [event for run in self.runs for event in run.events if event["type"] in kinds]


def _calls_of(run: Recorded) -> Iterator[Call]:
    requests = Requests()
    for event in run.of("agent.ModelRequested"):
        requested = core_decoder.decode_one(canonical(event).encode())
        assert isinstance(requested, ModelRequested)  # noqa: S101 (for mypy)
        requests.add(requested)
    for start in run.of("ModelStarted"):
        call_id = start.get("model_call_id")
        yield _call(start, [each for each in run.events if each.get("model_call_id") == call_id], requests)


def _call(start: Event, events: list[Event], requests: Requests) -> Call:
    def of(*kinds: str) -> list[Event]:
        return [each for each in events if each["type"] in kinds]

    request = requests.by_call.get(str(start.get("model_call_id")))
    ended = of(*CALL_ENDS)
    answered_by = [each["model"] for each in of("UsageRecorded", "agent.ModelFinished") if "model" in each]
    asked = [each["call"] for each in of("ToolCallCompleted")]
    asked += [call for each in ended for call in each.get("tool_calls", ())]
    return Call(
        model=(answered_by or [start["model"]])[-1],
        request=""
        if request is None
        else canonical(
            {"messages": request.messages, "system": request.system_instructions, "tools": request.tool_definitions}
        ),
        text="".join([each["delta"] for each in of("TextDelta")] + [each.get("text", "") for each in ended]),
        reasoning="".join(each.get("reasoning", "") for each in ended),
        tool_calls=tuple(canonical([each["id"], each["name"], each["arguments"]]) for each in asked),
        usage=total([_tokens(each) for each in of("UsageRecorded")]),
        ending="finished" if [each["type"] for each in ended] == ["agent.ModelFinished"] else "failed",
    )


def _tokens(recorded: Event) -> tuple[int, ...]:
    usage = recorded["usage"]
    read = usage.get("cache_read_input_tokens", usage.get("cached_input_tokens", 0))
    stored = usage.get("cache_creation_input_tokens", 0)
    thought = recorded.get("reasoning_output_tokens", 0)
    return usage["input_tokens"], usage["output_tokens"], read, stored, thought


def total(each: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the sums of usages as calls have them."""
    return tuple(map(sum, zip((0, 0, 0, 0, 0), *each, strict=True)))


def _counted(answer: Answer) -> Call:
    used = answer.usage
    has_finished = answer.ending == "finished"
    return Call(
        model=answer.model,
        request=answer.request,
        text=answer.text,
        reasoning=answer.reasoning if has_finished else "",
        tool_calls=tuple(canonical([each.id, each.name, each.arguments]) for each in answer.calls),
        usage=(0,) * 5 if used is None else (used.given, used.written, used.read, used.stored, used.thought),
        ending="finished" if has_finished else "failed",
    )
