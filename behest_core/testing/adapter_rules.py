"""What holds for every log of an adapter: the rules, one function each, which return what breaks them.

The first ones look at a log alone, the others hold the logs of a script's runs against what the stage counted (adapter_told.py).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from behest_core.model.decoding import core_decoder
from behest_core.model.events import TERMINAL_TYPES
from behest_core.testing.adapter_stage import canonical
from behest_core.testing.adapter_told import CALL_ENDS, total
from behest_core.transcript.entries import Call as ShownCall
from behest_core.transcript.entries import Message, Step, Tool, calls_in
from behest_core.transcript.reading import read_transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from behest_core.testing.adapter_told import Told
    from behest_core.testing.recorded import Recorded
    from behest_core.transcript.entries import Part, Transcript

    Problems = Iterator[str]

_OF_A_CALL: Final = ("TextDelta", "ToolCallCompleted", "UsageRecorded", "AssistantMessageCommitted")
_TOOLS: Final = ("ToolExecutionStarted", "ToolExecutionFinished", "agent.ToolRefused")


# ---------------------------------------------------------------- of each log


def is_paused(run: Recorded) -> bool:
    """Return whether the run had paused when it was last told what happens in it: an answer may have come since."""
    told = [kind for kind in run.types if kind not in {"agent.Resumed", *TERMINAL_TYPES}]
    return told[-1:] == ["agent.Paused"]


def end_of(run: Recorded) -> str:
    """Return the type that the log ends with; which run it answers may be found, and told, behind that."""
    return [kind for kind in run.types if kind != "agent.Resumed"][-1]


def begins_and_ends(run: Recorded) -> Problems:
    """A log begins with RunStarted and ends with a terminal event or a pause; behind that comes another start or an answer."""
    if run.types[0] != "RunStarted":
        yield f"its log begins with {run.types[0]}"
    for before, after in zip(run.types, run.types[1:], strict=False):
        if before in {*TERMINAL_TYPES, "agent.Paused"} and after not in {"agent.Resumed", "RunStarted"}:
            yield f"{after} comes after {before}"
    if end_of(run) not in {*TERMINAL_TYPES, "agent.Paused"}:
        yield f"its log ends with {end_of(run)}"


def starts_have_ends(run: Recorded) -> Problems:
    """Each start of a call, a tool and a step has one end. Only tools and steps of a run that paused may be open."""
    pairs = (
        ("ModelStarted", CALL_ENDS, "model_call_id", False),
        ("ToolExecutionStarted", ("ToolExecutionFinished",), "call_id", is_paused(run)),
        ("agent.StepStarted", ("agent.StepFinished",), "step_id", is_paused(run)),
    )
    for start, ends, name, may_be_open in pairs:
        begun = Counter(each.get(name) for each in run.of(start))
        ended = Counter(each.get(name) for kind in ends for each in run.of(kind))
        for missing in (begun - ended) if not may_be_open else ():
            yield f"{start} of {missing} has no end"
        for more in ended - begun:
            yield f"{ends[0]} of {more} has no start"


def ids_are_known(run: Recorded) -> Problems:
    """What an event belongs to came before it: its call, its step, the step around a step. What a call gives names the call."""
    calls: set[str] = set()
    steps: set[str] = set()
    for event in run.events:
        kind = event["type"]
        if kind == "ModelStarted":
            calls.add(str(event.get("model_call_id")))
        if kind in (*_OF_A_CALL, *CALL_ENDS, "agent.ModelRequested") and event.get("model_call_id") not in calls:
            yield f"{kind} belongs to call {event.get('model_call_id')}, which has not begun"
        for name in ("parent_step_id",) if kind == "agent.StepStarted" else ("step_id",):
            if name in event and event[name] not in steps:
                yield f"{kind} has the {name} {event[name]}, which has not begun"
        if kind == "agent.StepStarted":
            steps.add(event["step_id"])


# ---------------------------------------------------------------- of all logs


def _same(name: str) -> Callable[[Told], Problems]:
    def rule(told: Told) -> Problems:
        yield from _differing(name, [getattr(each, name) for each in told.calls], told.counted, name)

    rule.__doc__ = f"The calls in the logs have the {name} that the stage counted."
    return rule


def _differing(what: str, found: list[Any], counted: list[Any], name: str | None = None) -> Problems:
    expected = [getattr(each, name) for each in counted] if name else counted
    extra, missing = Counter(found) - Counter(expected), Counter(expected) - Counter(found)
    if extra or missing:
        yield f"{what}: the logs have {_shown(extra)}, the stage counted {_shown(missing)}"


def _shown(counts: Counter[Any]) -> str:
    return "; ".join(str(each)[:2000] for each in counts.elements()) or "no other"


def whole_calls(told: Told) -> Problems:
    """What is told of one call was of one call."""
    yield from _differing("calls", told.calls, told.counted)


def sums(told: Told) -> Problems:
    """The states have the tokens that the stage counted, and no call has its usage twice."""
    states = [run.state.total_usage for run in told.runs]
    found = sum(each.input_tokens for each in states), sum(each.output_tokens for each in states)
    expected = total(each.usage for each in told.counted)[:2]
    if found != expected:
        yield f"the states have {found} tokens, the stage counted {expected}"
    for call_id, count in Counter(each.get("model_call_id") for each in told.events("UsageRecorded")).items():
        if count > 1:
            yield f"call {call_id} has {count} times its usage"


def tools(told: Told) -> Problems:
    """What was executed is told, with what it gave or why it failed; and nothing else."""
    missing = list(told.stage.tool_runs)
    for event in told.events("ToolExecutionFinished"):
        success = event["result"].get("Success")
        said = canonical(success["output"]) if success else canonical(event["result"]["Failure"]["error"])
        found = [
            each
            for each in missing
            if each.name == event["tool_name"]
            and bool(success) == (each.ending == "finished")
            and canonical(each.text)[1:-1] in said
        ]
        if found:
            missing.remove(found[0])
        else:
            yield f"no tool {event['tool_name']} ended like that: {said[:2000]}"
    if missing:
        yield f"no end is told of {missing}"


def asked_is_answered(told: Told) -> Problems:
    """What happens to a tool call names the call that asked for it, where their log is the same; and something happens."""
    asked = [(run.record.run_id, event) for run in told.runs for event in run.of("ToolCallCompleted")]
    answered = {each["call_id"] for each in told.events(*_TOOLS)}
    for run in told.runs:
        for event in [each for kind in _TOOLS for each in run.of(kind)]:
            by = {(where, each["model_call_id"]) for where, each in asked if each["call"]["id"] == event["call_id"]}
            here = {call_id for where, call_id in by if where == run.record.run_id}
            if not by or event.get("model_call_id") not in (here or {None, *(call_id for _, call_id in by)}):
                yield f"{event['type']} of {event['call_id']} belongs to {event.get('model_call_id')}, which did not ask"
        if end_of(run) == "RunCompleted":
            for event in run.of("ToolCallCompleted"):
                if event["call"]["id"] not in answered:
                    yield f"the tool call {event['call']['id']} is neither executed nor refused"


def reads_as_it_was(told: Told) -> Problems:
    """`behest transcript` shows the conversation: the prompt, each call with its text and tools, each tool with what it gave."""
    transcripts = [_transcript(run) for run in told.runs]
    shown = [call for each in transcripts for call in calls_in(each.entries)]
    found = [
        ("".join([*call.discarded, call.text]), [[each.call_id, each.name, each.arguments] for each in call.tools])
        for call in shown
    ]
    counted = [(call.text, [[each.id, each.name, each.arguments] for each in call.calls]) for call in told.stage.calls]
    yield from _differing("the transcripts", list(map(canonical, found)), list(map(canonical, counted)))
    said = [text for each in transcripts for text in _said(each.entries)]
    if shown and told.stage.script.prompt not in said:
        yield f"no transcript shows that the user said {told.stage.script.prompt!r}; they show {said}"
    gave = canonical([[tool.result, tool.error] for each in transcripts for tool in _tools(each.entries)])
    for tool in told.stage.tool_runs:
        if tool.ending != "stopped" and canonical(tool.text)[1:-1] not in gave:
            yield f"no transcript shows what tool {tool.name} gave: {tool.text[:200]!r}"


def _transcript(run: Recorded) -> Transcript:
    events = (core_decoder.decode_one(canonical(each).encode()) for each in run.events)
    return read_transcript(run.record.run_id, run.record, events)


def _tools(entries: Iterable[Part]) -> Iterator[Tool]:
    """Return the tools that entries show: of calls, and by themselves where another run asked for them."""
    for entry in entries:
        if isinstance(entry, Tool):
            yield entry
        elif isinstance(entry, ShownCall):
            yield from entry.tools
        elif isinstance(entry, Step):
            yield from _tools(entry.entries)


def _said(entries: Iterable[Part]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, Message) and entry.role == "user":
            yield entry.text
        elif isinstance(entry, Step):
            yield from _said(entry.entries)


def errors(told: Told) -> Problems:
    """A call that failed says why."""
    found = canonical([[each["error"], each.get("causes")] for each in told.events("agent.ModelFailed")])
    for each in told.stage.calls:
        if each.ending == "failed" and canonical(each.turn.error)[1:-1] not in found:
            yield f"no call says that it failed with {each.turn.error!r}"


def parents_exist(told: Told) -> Problems:
    """The run that a run names as its parent or its root is recorded too, and in the same session."""
    known = {run.record.run_id: run.record for run in told.runs}
    for run in told.runs:
        about = run.record.metadata if isinstance(run.record.metadata, dict) else {}
        for name in ("parent_run_id", "root_run_id"):
            if name in about and str(about[name]) not in known:
                yield f"the {name} of {run.record.run_id} is {about[name]}, which is no run"
        parent = known.get(str(about.get("parent_run_id")))
        if parent is not None and parent.session_id != run.record.session_id:
            yield f"run {run.record.run_id} is in another session than its parent"


def says_nothing(told: Told) -> Problems:
    """No log without content has a text that a person, a model or a tool said."""
    for event in told.events(*{kind for run in told.runs for kind in run.types}):
        for text in told.stage.script.said:
            if canonical(text)[1:-1] in canonical(event):
                yield f"{event['type']} has {text[:80]!r}"


LOG_RULES: Final = (begins_and_ends, starts_have_ends, ids_are_known)
CONTENT_RULES: Final = {
    "request": _same("request"),
    "text": _same("text"),
    "reasoning": _same("reasoning"),
    "tool_calls": _same("tool_calls"),
    "calls": whole_calls,
    "tools": tools,
    "errors": errors,
    "transcript": reads_as_it_was,
}
RULES: Final = {
    "model": _same("model"),
    "usage": _same("usage"),
    "ending": _same("ending"),
    "sums": sums,
    "asked": asked_is_answered,
    "parents": parents_exist,
}
SILENT_RULES: Final = {"silence": says_nothing}
