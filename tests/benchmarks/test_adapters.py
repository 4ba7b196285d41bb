"""What recording adds to an agent of twelve steps, framework by framework, with a log that answers at once.

The model and the tools are stubs, which take no time: of an agent that calls a real model, all this is a small part.
"""

from __future__ import annotations

import asyncio
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any

import pytest

from behest_core.store import RunStore
from behest_core.testing.adapter_kit import SCENARIOS, Stage
from tests.golden import ROOT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    Play = Callable[[Stage], Awaitable[object]]

GOAL = 1.25
ROUNDS = 25
SCRIPT = next(each.script for each in SCENARIOS if each.name == "twelve steps")


class Instant:
    """A DynamoDB client for tables that take everything at once, and hold nothing."""

    def put_item(self, **_: Any) -> dict[str, Any]:
        return {}

    def query(self, **_: Any) -> dict[str, Any]:
        return {"Items": []}

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {}


def module_of(framework: str, module: str) -> ModuleType:
    """Return a module of an adapter's tests: they have agents that play the kit's scripts."""
    path = ROOT / "plugins" / f"behest-{framework}" / "tests" / f"{module}.py"
    spec = spec_from_file_location(f"{module}_of_{framework.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    found = sys.modules[spec.name] = module_from_spec(spec)  # dataclasses look there
    spec.loader.exec_module(found)
    return found


def strands() -> tuple[Play, Play]:
    found = module_of("strands", "test_log_is_true")

    class NoHooks:
        def register_hooks(self, registry: object, **_: object) -> None:
            pass

    class Bare(found.Strands):  # type: ignore[name-defined, misc]
        def hooks(self, _: Stage) -> object:
            return NoHooks()

    return Bare(None).agent, found.Strands(None).agent


def langchain() -> tuple[Play, Play]:
    found = module_of("langchain", "test_log_is_true")

    class Bare(found.OfLangChain):  # type: ignore[name-defined, misc]
        def _config(self, stage: Stage) -> dict[str, Any]:
            return {"configurable": {"thread_id": f"thread-{id(stage)}"}, "recursion_limit": 100}

    return Bare().agent, found.OfLangChain().agent


def openai_agents() -> tuple[Play, Play]:
    from agents import Runner  # noqa: PLC0415 (one framework at a time)

    found = module_of("openai-agents", "test_log_is_true")

    class Bare(found.OfOpenAIAgents):  # type: ignore[name-defined, misc]
        def _runner(self, _: Stage) -> Any:
            return Runner

    return Bare().agent, found.OfOpenAIAgents().agent


def pydantic_ai() -> tuple[Play, Play]:
    from pydantic_ai import Agent  # noqa: PLC0415

    found = module_of("pydantic-ai", "stage_models")

    class Bare(found.OfPydanticAI):  # type: ignore[name-defined, misc]
        def _agent(self, stage: Stage, model: Any) -> Any:
            tools = [found.tool_of(stage, each) for each in stage.script.tools]
            return Agent(model, tools=tools, instructions=stage.script.system)

    return Bare().agent, found.OfPydanticAI().agent


def ag_ui() -> tuple[Play, Play]:
    from ag_ui_models import asked, drained  # noqa: PLC0415
    from behest_ag_ui import record  # noqa: PLC0415

    agent_of = module_of("ag-ui", "stage_agent").StageAgent

    def bare(stage: Stage) -> Awaitable[object]:
        return drained(agent_of(stage)(asked()))

    def recorded(stage: Stage) -> Awaitable[object]:
        return drained(record(agent_of(stage)(asked()), stage.store, metadata=stage.script.metadata))

    return bare, recorded


@pytest.mark.benchmark
@pytest.mark.parametrize("framework", [strands, langchain, openai_agents, pydantic_ai, ag_ui])
def test_recording_an_agent_of_twelve_steps(framework: Callable[[], tuple[Play, Play]]):
    bare, recorded = framework()
    store = RunStore("events", "states", client=Instant())  # type: ignore[arg-type]  # it has what is called
    rounds = [(milliseconds(bare, store), milliseconds(recorded, store)) for _ in range(ROUNDS)]
    without, with_ = (sorted(each)[ROUNDS // 4] for each in zip(*rounds[1:], strict=True))
    print(
        f"\n{framework.__name__}, twelve steps: {without:.1f} ms, recorded {with_:.1f} ms; "
        f"{with_ / without:.2f} times as long, {1000 * (with_ - without) / 12:.0f} us a step (goal {GOAL:g})"
    )


def milliseconds(play: Play, store: RunStore) -> float:
    stage = Stage(SCRIPT, store, {})
    began = time.perf_counter_ns()
    asyncio.run(play(stage))  # type: ignore[arg-type]  # a coroutine
    return (time.perf_counter_ns() - began) / 1e6
