"""The scripts of the adapter kit, played by Strands' own agents."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any

import pytest
from behest_strands import BehestHooks
from strands import Agent, tool
from strands.hooks import AfterModelCallEvent, BeforeToolCallEvent
from strands.models import BedrockModel, Model
from strands.models.openai import OpenAIModel
from strands.models.routing import ModelRouter
from strands.multiagent import GraphBuilder
from strands.session.file_session_manager import FileSessionManager
from strands_models import hook

from behest_core.testing.adapter_kit import SCENARIOS, Adapter, Piece, Thought, ToolCall, Usage, check_scenario


class ScriptedModel(Model):
    """A model that says what the script says, under one name."""

    def __init__(self, stage, name="stub-1"):
        self.stage, self.name = stage, name

    def update_config(self, **_):
        """There is nothing to configure."""

    def get_config(self):
        return {"model_id": self.name}

    def structured_output(self, *_, **__):
        raise NotImplementedError

    async def stream(self, messages, tool_specs=None, _=None, *, system_prompt_content=None, **__):
        answer = self.stage.called(messages, system_prompt_content, tool_specs, model=self.name)
        yield {"messageStart": {"role": "assistant"}}
        block: object = None
        async with aclosing(answer.parts()) as parts:
            async for part in parts:
                if block is not None and (type(part) is not block or isinstance(part, ToolCall)):
                    block = None
                    yield {"contentBlockStop": {}}
                if isinstance(part, Usage):
                    told = _as_told(part, self.stage.script.counting)
                    yield {"metadata": {"usage": told, "metrics": {"latencyMs": 1}}}
                    continue
                if block is None:
                    block = type(part)
                    yield {"contentBlockStart": {"start": _begun(part)}}
                yield {"contentBlockDelta": {"delta": _delta(part)}}
        if block is not None:
            yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use" if answer.calls else "end_turn"}}


def _begun(part) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": part.id, "name": part.name}} if isinstance(part, ToolCall) else {}


def _delta(part) -> dict[str, Any]:
    match part:
        case Piece(text):
            return {"text": text}
        case Thought(text):
            return {"reasoningContent": {"text": text}}
        case ToolCall(arguments=arguments):
            return {"toolUse": {"input": json.dumps(arguments)}}


def _as_told(usage, counting):
    given = usage.given if counting == "within" else usage.uncached
    cached = {"cacheReadInputTokens": usage.read, "cacheWriteInputTokens": usage.stored}
    beside = 0 if counting == "within" else usage.read + usage.stored
    total = given + usage.written + beside
    told = {name: count for name, count in cached.items() if count}
    return {"inputTokens": given, "outputTokens": usage.written, "totalTokens": total, **told}


class OfOpenAI(ScriptedModel, OpenAIModel):
    """It counts cached tokens within the input."""


class OfBedrock(ScriptedModel, BedrockModel):
    """It counts them beside."""


def model_of(stage, name="stub-1"):
    return (OfOpenAI if stage.script.counting == "within" else OfBedrock)(stage, name)


def tools_of(stage):
    def tool_named(name):
        @tool(name=name)
        async def act(city: str) -> str:
            """Tell it."""
            return await stage.tool(name)

        return act

    return [tool_named(each.name) for each in stage.script.tools]


class Strands(Adapter):
    cannot = {
        "reasoning tokens": "Strands' usage doesn't tell them",
    }

    def __init__(self, sessions):
        self.sessions = sessions

    def hooks(self, stage):
        return BehestHooks(stage.store, session_id="s", metadata=stage.script.metadata, **stage.settings)

    def made(self, stage, *hooks, model=None, **more):
        return Agent(
            model=model or model_of(stage),
            tools=tools_of(stage),
            system_prompt=stage.script.system,
            hooks=[self.hooks(stage), *hooks],
            callback_handler=None,
            **more,
        )

    async def agent(self, stage):
        agent = self.made(stage)
        if not stage.script.streamed:
            return said(await agent.invoke_async(stage.script.prompt))
        async with aclosing(agent.stream_async(stage.script.prompt)) as events:
            results = [event["result"] async for event in events if "result" in event]
        return said(results[0])

    async def retries(self, stage):
        def again(event):
            event.retry = event.exception is not None

        return said(await self.made(stage, hook(AfterModelCallEvent, again)).invoke_async(stage.script.prompt))

    async def falls_back(self, stage):
        router = ModelRouter([model_of(stage, name) for name in ("stub-1", "stub-2")])
        return said(await self.made(stage, model=router).invoke_async(stage.script.prompt))

    async def at_once(self, stage):
        hooks = self.hooks(stage)
        graph = GraphBuilder().set_max_node_executions(2).set_hook_providers([hooks])
        for name in ("stub-1", "stub-2"):
            agent = Agent(
                name=name,
                model=model_of(stage, name),
                system_prompt=stage.script.system,
                hooks=[hooks],
                callback_handler=None,
            )
            graph.add_node(agent, name)
            graph.set_entry_point(name)
        result = await graph.build().invoke_async(stage.script.prompt)
        return said(result.results["stub-1"].result)

    async def pauses(self, stage):
        result = await self.waiting(stage).invoke_async(stage.script.prompt)
        return json.dumps([each.id for each in result.interrupts])

    async def goes_on(self, stage, kept, *, is_granted):
        word = "yes" if is_granted else "no"
        answers = [{"interruptResponse": {"interruptId": each, "response": word}} for each in json.loads(kept)]
        return said(await self.waiting(stage).invoke_async(answers))

    def waiting(self, stage):
        """Return a new agent, which has what its session has."""
        folder = str(self.sessions / str(stage.settings["content"]))
        return self.made(
            stage,
            hook(BeforeToolCallEvent, ask_first),
            agent_id="forecaster",
            session_manager=FileSessionManager(session_id="s", storage_dir=folder),
        )


def ask_first(event):
    if event.interrupt("approval") != "yes":
        event.cancel_tool = "a person said no"


def said(result):
    return str(result).removesuffix("\n")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_log_is_the_truth(stack, tmp_path, scenario):
    check_scenario(Strands(tmp_path), scenario, stack)
