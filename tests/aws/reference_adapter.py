"""A framework in a few lines, and its adapter: what the adapter kit is tried out with. It does all that a script can say."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from behest_core.model.events import ToolCall, ToolExecutionResult
from behest_core.recording.adapter import as_json, begin, failure, pause, resume, stop
from behest_core.testing.adapter_kit import Adapter, Piece, ScriptedError, Thought, Usage

if TYPE_CHECKING:
    from behest_core.recording.model_call import ModelCall
    from behest_core.recording.recorder import RunRecorder
    from behest_core.testing.adapter_kit import Stage

TOOLS = [{"name": name, "parameters": {"city": "string"}} for name in ("weather", "traffic")]


class Reference(Adapter):
    """An agent that is a loop, and records itself. `redact` may spoil what it records."""

    def __init__(self, redact=None):
        self.redact = redact

    async def agent(self, stage):
        run = self._begin(stage)
        return await _recorded(run, self._answer(stage, run, [_user(stage)]))

    async def retries(self, stage):
        run = self._begin(stage)

        async def twice():
            with suppress(Exception):
                return await self._answer(stage, run, [_user(stage)])
            return await self._answer(stage, run, [_user(stage)])

        return await _recorded(run, twice())

    async def falls_back(self, stage):
        run = self._begin(stage)

        async def either():
            with suppress(Exception):
                return await self._answer(stage, run, [_user(stage)])
            return await self._answer(stage, run, [_user(stage)], model="stub-2")

        return await _recorded(run, either())

    async def at_once(self, stage):
        run = self._begin(stage)

        async def step(model):
            step_id = run.step_started(model, "node")
            answer = await self._answer(stage, run, [_user(stage)], model=model, step_id=step_id)
            run.step_finished(step_id)
            return answer

        async def both():
            answers = await asyncio.gather(step("stub-1"), step("stub-2"))
            return answers[0]

        return await _recorded(run, both())

    async def pauses(self, stage):
        run = self._begin(stage)
        messages = [_user(stage)]
        message, _ = await _call(stage, run, messages)
        pause(run, "approval", [each["id"] for each in message["calls"]])
        run.close()
        return json.dumps([*messages, message])

    async def goes_on(self, stage, kept, *, is_granted):
        run = self._begin(stage)
        messages = json.loads(kept)
        [asked] = messages[-1]["calls"]
        resume(stage.store, run, {asked["id"]: "granted" if is_granted else "denied"})

        async def go_on():
            if is_granted:
                messages.append(await _execute(stage, run, asked, None))
            else:
                run.tool_refused(asked["id"], asked["name"], "no")
                messages.append({"role": "tool", "content": "no"})
            return await self._answer(stage, run, messages)

        return await _recorded(run, go_on())

    def _begin(self, stage):
        settings: Any = {**stage.settings, "redact": self.redact}
        about = {"provider": "p", "model": "stub-1", "session_id": "s", "metadata": stage.script.metadata}
        return begin(stage.store, "reference", **about, settings=settings)

    async def _answer(self, stage, run, messages, model="stub-1", step_id=None):
        while True:
            message, call = await _call(stage, run, messages, model, step_id)
            messages.append(message)
            if not message["calls"]:
                return message["content"]
            messages += await asyncio.gather(*(_execute(stage, run, each, call) for each in message["calls"]))


async def _recorded(run: RunRecorder, work):
    try:
        answer = await work
    except BaseException as error:
        stop(run, error)
        raise
    else:
        run.completed()
        return answer
    finally:
        run.close(10)


def _user(stage: Stage):
    return {"role": "user", "content": stage.script.prompt}


async def _call(stage: Stage, run: RunRecorder, messages, model="stub-1", step_id=None):
    system = stage.script.system
    call = run.model_call(
        model=model,
        messages=[as_json(each) for each in messages],
        system_instructions=system,
        tool_definitions=TOOLS,
        step_id=step_id,
    )
    message: dict[str, Any] = {"role": "assistant", "content": "", "calls": []}
    used: Usage | None = None
    thought = None
    try:
        async for part in stage.called(messages, system, TOOLS, model).parts():
            match part:
                case Piece(text):
                    message["content"] += text
                    call.text(text)
                case Thought(text):
                    thought = text
                case ToolCall(id=call_id, name=name, arguments=arguments):
                    message["calls"].append({"id": call_id, "name": name, "arguments": arguments})
                    call.tool_called(call_id, name, arguments)
                case Usage():
                    used = part
    except BaseException as error:
        _use(call, used)
        call.failed(error)
        raise
    _use(call, used)
    call.finished(reasoning=thought)
    call.message_committed(f"message-{len(messages)}")
    return message, call


def _use(call: ModelCall, used: Usage | None):
    if used is not None:
        call.usage(
            used.given,
            used.written,
            cache_read_input_tokens=used.read,
            cache_creation_input_tokens=used.stored,
            reasoning_output_tokens=used.thought,
        )


async def _execute(stage: Stage, run: RunRecorder, asked, call: ModelCall | None):
    about = {} if call is None else {"model_call_id": call.id}
    run.tool_started(asked["id"], asked["name"], **about)
    try:
        output = await stage.tool(asked["name"])
    except BaseException as error:
        run.tool_finished(asked["id"], asked["name"], failure(error), **about)
        if not isinstance(error, ScriptedError):
            raise
        return {"role": "tool", "content": str(error)}
    run.tool_finished(asked["id"], asked["name"], ToolExecutionResult.ok(output), **about)
    return {"role": "tool", "content": output}
