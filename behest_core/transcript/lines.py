"""A transcript as lines of text: as a person reads it, from top to bottom.

    user       How warm is it in Oslo?
    assistant  Let me see.
      tool       get_weather {"city":"Oslo"}
      gave       {"temp":3}
                 after 42 ms
               openai/gpt-4o, 1,200 tokens in, 40 out, $0.0034, 0.8 s
    assistant  3 degrees.

What is said is written in full, line by line. A part is written once it is over, and what comes after it then: so the lines of a
run that goes on are the beginning of the lines that it will have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from behest_core.model.summary import milliseconds_between
from behest_core.transcript.entries import Answer, Call, Earlier, End, Message, Pause, Step, Tool
from behest_core.transcript.messages import as_text
from behest_core.wording import duration_text, usd_text

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from behest_core.transcript.entries import Part, Transcript

Tone: TypeAlias = Literal["said", "told", "about", "failed"]

_ABOUT: Final = "about"


class Line(NamedTuple):
    """A line: how deep it stands, what its part is called where that begins, its text.

    `tone` is ``said`` by somebody, ``told`` by a tool, ``about`` what happened, or ``failed``.
    """

    depth: int
    name: str
    text: str
    tone: Tone


def lines(transcript: Transcript) -> Iterator[Line]:
    """Return the lines of a transcript, as far as its parts are over."""
    about = [transcript.run_id, *_given(transcript.agent_name), f"{transcript.provider}/{transcript.model}"]
    if transcript.started_at is not None:
        about.append(transcript.started_at)
    yield Line(0, "run", "  ".join(about), _ABOUT)
    is_whole = yield from _parts(transcript.entries, 0)
    if is_whole and transcript.ended_at is not None:
        yield Line(0, "", ", ".join(_sums(transcript)), _ABOUT)


def _parts(entries: Iterable[Part], depth: int) -> Generator[Line, None, bool]:
    """Return the lines of entries up to the first that is not over; give whether all are."""
    for entry in entries:
        if isinstance(entry, Step):
            yield Line(depth, "step", _with_mark(f"{entry.name} ({entry.type})", entry), _ABOUT)
            is_whole = yield from _parts(entry.entries, depth + 1)
            if not (is_whole and entry.is_over):
                return False
            yield from _step_end(entry, depth)
        elif entry.is_over:
            yield from _of(entry, depth)
        else:
            return False
    return True


def _of(entry: Part, depth: int) -> Iterator[Line]:
    match entry:
        case Message(role=role, text=text):
            yield from _said(depth, role, text)
        case Earlier(count=count):
            yield Line(depth, "", f"{count:,} earlier {'message' if count == 1 else 'messages'}", _ABOUT)
        case Call():
            yield from _call(entry, depth)
        case Tool():
            yield from _tool(entry, depth)
        case Pause(reason=reason, pending=pending):
            yield Line(depth, "paused", " ".join([f"{reason}:", *pending] if pending else [reason]), _ABOUT)
        case Answer():
            yield from _answer(entry, depth)
        case End(status=status, because=because):
            tone: Tone = "failed" if status == "Failed" else _ABOUT
            yield from _named(depth, str(status).lower(), because or "", tone)


def _call(call: Call, depth: int) -> Iterator[Line]:
    if call.reasoning:
        yield from _named(depth, "reasoning", call.reasoning, "told")
    for text in call.discarded:
        yield from _named(depth, "discarded", text, "told")
    if call.text:
        yield from _said(depth, "assistant", call.text)
    for tool in call.tools:
        yield from _tool(tool, depth)
    if call.error is not None:
        yield from _named(depth, "failed", call.error, "failed")
    told = [call.answered_by or call.model, *_tokens(call.input_tokens, call.output_tokens), *_costs(call.nano_usd)]
    if call.provider:
        told[0] = f"{call.provider}/{told[0]}"
    if call.duration_ms is not None:
        told.append(duration_text(call.duration_ms))
    yield Line(depth, "", _with_mark(", ".join(told), call), _ABOUT)


def _tool(tool: Tool, depth: int) -> Iterator[Line]:
    asked = tool.name if tool.arguments is None else f"{tool.name} {as_text(tool.arguments)}"
    yield from _named(depth + 1, "tool", asked, "told")
    if tool.refused is not None:
        yield from _named(depth + 1, "refused", tool.refused, "failed")
    elif tool.error is not None:
        yield from _named(depth + 1, "failed", tool.error, "failed")
    elif tool.duration_ms is not None:
        yield from _named(depth + 1, "gave", as_text(tool.result), "told")
    else:
        yield Line(depth + 1, "", "no end is recorded" if tool.has_started else "was not executed", _ABOUT)
    if tool.duration_ms is not None:
        yield Line(depth + 1, "", _with_mark(f"after {duration_text(tool.duration_ms)}", tool), _ABOUT)


def _step_end(step: Step, depth: int) -> Iterator[Line]:
    ended = f"{step.name} ended" if step.error is None else f"{step.name} failed: {step.error}"
    if step.duration_ms is not None:
        ended += f" after {duration_text(step.duration_ms)}"
    yield from _named(depth, "", ended, _ABOUT if step.error is None else "failed")


def _answer(answer: Answer, depth: int) -> Iterator[Line]:
    given = ", ".join(f"{each}: {word}" for each, word in answer.answers.items()) or "answered"
    if answer.paused_run_id is not None:
        given += f" (what run {answer.paused_run_id} waited for)"
    if answer.answering_run_id is not None:
        given += f" (run {answer.answering_run_id} goes on)"
    yield Line(depth, "answer", given, _ABOUT)


def _said(depth: int, role: str, text: str) -> Iterator[Line]:
    return _named(depth, role, text, "said")


def _named(depth: int, name: str, text: str, tone: Tone) -> Iterator[Line]:
    for place, line in enumerate(text.split("\n")):
        yield Line(depth, "" if place else name, line, tone)


def _with_mark(text: str, entry: Part) -> str:
    return f"{text}, alongside" if entry.alongside else text


def _sums(transcript: Transcript) -> Iterator[str]:
    took = milliseconds_between(transcript.started_at, transcript.ended_at)
    if took is not None:
        yield duration_text(took)
    yield from _tokens(transcript.input_tokens, transcript.output_tokens)
    yield from _costs(transcript.nano_usd)
    if transcript.unpriced_calls:
        yield f"{transcript.unpriced_calls:,} calls without a price"


def _tokens(given: int, written: int) -> list[str]:
    return [f"{given:,} tokens in", f"{written:,} out"] if given or written else []


def _costs(nano_usd: int | None) -> list[str]:
    return [] if nano_usd is None else [usd_text(nano_usd)]


def _given(text: str | None) -> list[str]:
    return [text] if text else []
