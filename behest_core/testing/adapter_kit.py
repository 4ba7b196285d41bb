"""What an adapter's author imports: scripts that the real framework plays, and what has to hold for the logs of all of them.

    from behest_core.testing.adapter_kit import SCENARIOS, Adapter, check_scenario

    class OfMyFramework(Adapter):
        cannot = {"fallback": "the framework has no fallback to another model"}

        async def agent(self, stage):
            agent = MyAgent(StubModel(stage), tools=…, hooks=[MyHooks(stage.store, **stage.settings)])
            return await agent.ask(stage.script.prompt)

    @pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
    def test_the_log_is_the_truth(stack, scenario):
        check_scenario(OfMyFramework(), scenario, stack)

- The stub model and the tools of the adapter's tests are in the adapter's hands; what they say and do is the stage's
  (adapter_stage.py), which counts: calls, what each was given, texts, tool calls, tokens, tools and how they ended.
- Each scenario is played twice, with content and without. Afterwards the rules (adapter_rules.py) hold what was recorded against
  what was counted. What breaks one raises AssertionError, with the rule.
- A scenario that a framework can't play is named in `cannot`, with the reason. So nothing is left out silently.

The fixture `stack` is one of `behest_core.testing.fixtures`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar
from unittest import SkipTest

from behest_core.model.events import TERMINAL_TYPES, ToolCall
from behest_core.testing.adapter_rules import (
    CONTENT_RULES,
    LOG_RULES,
    RULES,
    SILENT_RULES,
    end_of,
    is_paused,
)
from behest_core.testing.adapter_scenarios import SCENARIOS, Scenario
from behest_core.testing.adapter_script import Counting, Script, Tool, Turn, Usage
from behest_core.testing.adapter_stage import Answer, Piece, ScriptedError, Stage, Thought
from behest_core.testing.adapter_told import Told
from behest_core.testing.recorded import all_recorded, when_answered

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Coroutine, Mapping

    from behest_core.recording.adapter import RecorderSettings
    from behest_core.testing.local_stack import LocalStack
    from behest_core.testing.recorded import Recorded

    _Play = Callable[["Adapter", Scenario, Stage, LocalStack], Coroutine[None, None, str | None]]

__all__ = [
    "SCENARIOS",
    "Adapter",
    "Answer",
    "Counting",
    "Piece",
    "Scenario",
    "Script",
    "ScriptedError",
    "Stage",
    "Thought",
    "Tool",
    "ToolCall",
    "Turn",
    "Usage",
    "check_logs",
    "check_scenario",
]


class Adapter(ABC):
    """A framework with its adapter. Each method plays a stage's script, recorded into `stage.store`, and returns the answer.

    They raise what the framework raises. Where the script is `streamed` they stream; they are cancelled as tasks are.
    """

    cannot: ClassVar[Mapping[str, str]] = {}
    """Why the framework can't play a scenario, by the scenario's name."""

    @abstractmethod
    async def agent(self, stage: Stage) -> str:
        """Ask one agent that has the script's model and tools."""

    async def retries(self, stage: Stage) -> str:
        """Ask an agent whose model is called again after it failed: by the framework itself, or as its users do that."""
        raise NotImplementedError

    async def falls_back(self, stage: Stage) -> str:
        """Ask an agent that goes on with the model `stub-2` where `stub-1` fails."""
        raise NotImplementedError

    async def at_once(self, stage: Stage) -> str:
        """Ask whatever calls the models `stub-1` and `stub-2` at the same time, and return what `stub-1` said."""
        raise NotImplementedError

    async def pauses(self, stage: Stage) -> object:
        """Ask an agent until it waits for an approval. Return what another process needs to go on: text, JSON, a path."""
        raise NotImplementedError

    async def goes_on(self, stage: Stage, kept: object, *, is_granted: bool) -> str:
        """Go on where an agent waits, with nothing of it but `kept`, which `pauses` returned."""
        raise NotImplementedError


def check_scenario(adapter: Adapter, scenario: Scenario, stack: LocalStack) -> None:
    """Play a scenario, with content and without, and assert that all rules hold.

    Raises AssertionError for the rules that are broken, and for a scenario in `cannot` that there is not, or without a reason;
    SkipTest, which skips a test of pytest, with the reason where the adapter can't play it.
    """
    for name, why in adapter.cannot.items():
        assert name in {each.name for each in SCENARIOS}, f"there is no scenario {name}"  # noqa: S101 (what this is for)
        assert why, f"say why {name} can't be played"  # noqa: S101
    if scenario.name in adapter.cannot:
        raise SkipTest(adapter.cannot[scenario.name])
    told = _played(adapter, scenario, stack, content=True, before=())
    silent = _played(adapter, scenario, stack, content=False, before={run.record.run_id for run in told.runs})
    with_content, without = (Counter(kind for run in each.runs for kind in run.types) for each in (told, silent))
    if with_content != without:
        _raise(scenario.name, [f"types: without content there are {without}, with it {with_content}"])


def _played(adapter: Adapter, scenario: Scenario, stack: LocalStack, *, content: bool, before: Container[str]) -> Told:
    settings: RecorderSettings = {**scenario.settings, "content": content}  # type: ignore[typeddict-item]
    stage = Stage(scenario.script, stack.store, settings)
    answer: object = asyncio.run(_PLAYED[scenario.played](adapter, scenario, stage, stack))
    when_answered()
    runs = [run for run in all_recorded(stack.store) if run.record.run_id not in before]
    problems = [] if answer == scenario.script.answer else [f"answer: it was {answer!r}"]
    problems += _of_the_ends(scenario, runs)
    _raise(scenario.name, problems + _problems(runs, stage, scenario, content=content))
    return Told(runs, stage)


def check_logs(runs: list[Recorded], stage: Stage, *, content: bool = True) -> None:
    """Assert that the logs of a script's runs tell what its stage counted, for tests of an adapter's own."""
    _raise("the logs", _problems(runs, stage, None, content=content))


def _problems(runs: list[Recorded], stage: Stage, scenario: Scenario | None, *, content: bool) -> list[str]:
    told = Told(runs, stage)
    left_out: Container[str] = () if scenario is None else scenario.besides
    found = [f"{rule.__name__}: {each}" for rule in LOG_RULES for run in runs for each in rule(run)]
    for name, check in {**RULES, **(CONTENT_RULES if content else SILENT_RULES)}.items():
        if name not in left_out:
            found += [f"{name}: {each}" for each in check(told)]
    return found


def _of_the_ends(scenario: Scenario, runs: list[Recorded]) -> list[str]:
    """Return what is wrong with how the script's own runs ended; a run that another one began may end in another way."""
    own = [run for run in runs if "parent_run_id" not in (run.record.metadata or {})]
    if not own:
        return ["ends: nothing was recorded"]
    wrong = [f"ends: a run ended with {end_of(run)}" for run in own if end_of(run) != scenario.ends]
    if scenario.played == "pause":
        wrong += _of_the_answer(scenario, runs)
    return wrong


def _of_the_answer(scenario: Scenario, runs: list[Recorded]) -> list[str]:
    expected = {"granted" if scenario.is_granted else "denied"}
    paused = [run for run in runs if "agent.Paused" in run.types]
    resumed = [event for run in runs for event in run.of("agent.Resumed")]
    wrong = [] if paused and all(run.of("agent.Paused")[-1]["pending"] for run in paused) else ["pause: nothing waits"]
    if not resumed or any(set(each["answers"].values()) != expected for each in resumed):
        wrong.append(f"pause: the answers are {[each['answers'] for each in resumed]}, not {expected}")
    pending = {each for run in paused for each in run.of("agent.Paused")[-1]["pending"]}
    if any(set(each["answers"]) != pending for each in resumed):
        wrong.append(f"pause: what waits is {pending}")
    if any(is_paused(run) and "agent.Resumed" not in run.types for run in paused):
        wrong.append("pause: a run waits for ever")
    if any(kind in TERMINAL_TYPES for run in paused for kind in run.types[: run.types.index("agent.Paused")]):
        wrong.append("pause: a run that waits was over before")
    return wrong


def _raise(what: str, problems: list[str]) -> None:
    if problems:
        raise AssertionError(f"{what}: {len(problems)} problems\n" + "\n".join(problems))


# ---------------------------------------------------------------- how a scenario is played


def _asked(name: str) -> _Play:
    async def play(adapter: Adapter, scenario: Scenario, stage: Stage, _: LocalStack) -> str | None:
        answer: str | None = None
        ask = getattr(adapter, name)
        if scenario.script.answer is not None:
            return str(await ask(stage))
        try:
            answer = await ask(stage)
        except Exception as error:
            if not _is_scripted(error):
                raise
        return answer

    return play


def _is_scripted(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ScriptedError):
        error = error.__cause__ or error.__context__
    return error is not None


async def _cancelled(adapter: Adapter, _: Scenario, stage: Stage, __: LocalStack) -> None:
    task = asyncio.ensure_future(adapter.agent(stage))
    hangs = asyncio.ensure_future(stage.hangs.wait())
    await asyncio.wait({task, hangs}, return_when=asyncio.FIRST_COMPLETED)
    hangs.cancel()
    assert not task.done(), f"it was to hang, and ended: {task}"  # noqa: S101 (what this is for)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _paused(adapter: Adapter, scenario: Scenario, stage: Stage, stack: LocalStack) -> str:
    kept = await adapter.pauses(stage)
    stack.deliver()  # a run that waits is looked for in the state table
    return await adapter.goes_on(stage, kept, is_granted=scenario.is_granted)


_PLAYED: Mapping[str, _Play] = {
    "agent": _asked("agent"),
    "retries": _asked("retries"),
    "falls back": _asked("falls_back"),
    "at once": _asked("at_once"),
    "pause": _paused,
    "cancelled": _cancelled,
}
