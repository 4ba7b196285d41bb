"""Whatever a process keeps for longer than a call is bounded in bytes. What that is, is read from the source."""

import ast
import pickle
import tracemalloc
from pathlib import Path

import pytest
from behest_cost import prices

from behest_core.dynamodb import event_table, state_table
from behest_core.model import conversation
from behest_core.model.decoding import encode
from behest_core.model.events import ToolExecutionStarted
from behest_core.model.state import RunState
from behest_core.projection.projector import Projector, memory_of
from behest_core.recording import open_tools, recorder
from tests.builders import RUN, at, run_record
from tests.largest import WIDE, largest_state

MEGABYTE = 1024 * 1024
ROOT = Path(__file__).parents[2]
NOT_DEPLOYED = ("behest_core/cli/", "behest_core/demo/", "behest_core/testing/")
SOURCES = [
    path
    for folder in ("behest_core", "functions", *(f"plugins/{each.name}" for each in (ROOT / "plugins").iterdir()))
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "tests" not in path.relative_to(ROOT).parts and not str(path.relative_to(ROOT)).startswith(NOT_DEPLOYED)
]

BOUNDED_CACHES = {
    "behest_core/dynamodb/event_table.py: _heads",
    "behest_core/dynamodb/state_table.py: seen",
    "behest_core/projection/projector.py: _kept",
    "behest_core/model/conversation.py: _once_told",
    "behest_core/recording/open_tools.py: _ended",
    "behest_core/recording/open_tools.py: _open",
    "behest_core/recording/recorder.py: _steps_started",
    "plugins/behest-cost/behest_cost/prices.py: _remembered",
}
"""By name in a number of bytes: model/cache.py."""

OTHERS = {
    "behest_core/model/cache.py: _kept": "the cache itself, which counts its bytes",
    "behest_core/model/cache.py: _caches": "forgets what nobody else has",
    "behest_core/dynamodb/event_table.py: _logs": "forgets what nobody else has",
    "behest_core/recording/recorder.py: _recorders": "forgets what nobody else has",
    "behest_core/recording/writer.py: _outboxes": "forgets what nobody else has",
    "behest_core/recording/writer.py: _timers": "twice as many as there are outboxes, and 64",
    "behest_core/recording/writer.py: _busy": "the outboxes that have something to append",
    "behest_core/recording/writer.py: _threads": "one for each request at once",
    "behest_core/recording/outbox.py: _buffer": "counts its bytes: tests/aws/test_recorder.py",
    "behest_core/model/decoding.py: _learned": "256 types of 255 characters",
    "behest_core/fold/listening.py: *": "what plugins are loaded with",
    "behest_core/model/decoding.py: _reader_of": "one for each class of events",
    "behest_core/model/events.py: type_name": "one for each class of events",
    "behest_core/model/timestamps.py: _spelled": "two texts of 20 characters",
    "behest_core/fold/dispatch.py: upcasters": "what plugins are loaded with",
    "behest_core/fold/dispatch.py: readers": "what plugins are loaded with",
    "behest_core/fold/dispatch.py: handlers": "what plugins are loaded with",
    "behest_core/fold/extension.py: _listeners": "what plugins are loaded with",
    "behest_core/projection/catch_up.py: _installed": "what plugins are loaded with",
    "behest_core/fold/slices.py: touched": "of one fold, for each extension",
    "behest_core/projection/verify.py: differences": "of one run",
    "behest_core/model/conversation.py: by_call": "of one run that is read",
    "behest_core/model/conversation.py: _values": "of one run that is read",
    "behest_core/transcript/reading.py: *": "of one run that is read",
    "behest_core/model/conversation.py: _requests": "the latest, with so many hashes together",
    "behest_core/recording/adapter.py: _begun": "of one step under way, one for each agent that it invokes",
    "behest_core/recording/gap.py: _untold": "so many reasons, by class of error",
    "behest_core/recording/recorder.py: _held": "100 events that wait for the first model call",
    "behest_core/recording/halves.py: held": "one for each call that is streamed, until it ends",
    "behest_core/recording/storable.py: _changes": "of one event",
    "behest_core/runtime.py: _session": "one",
    "behest_core/web/environment.py: environment": "one",
    "behest_core/web/pages.py: _assets": "the page's own files",
    "behest_core/web/security.py: _hosts": "two",
    "behest_core/web/tree.py: children": "of one page",
    "plugins/behest-approvals/behest_approvals/__init__.py: decided": "so many calls of one pause",
    "plugins/behest-cost/behest_cost/__init__.py: _rates": "one for each price file",
    "plugins/behest-cost/behest_cost/prices.py: _exact": "the price table",
    "plugins/behest-cost/behest_cost/prices.py: _patterns": "the price table",
    "plugins/behest-ag-ui: *": "of the runs under way",
    "plugins/behest-durable: *": "of one invocation: ids of what its execution did, whose checkpoint the SDK keeps whole",
    "plugins/behest-langchain: *": "of the runs under way",
    "plugins/behest-openai-agents: *": "of the runs under way",
    "plugins/behest-otel: *": "of the runs under way, or of one that is read",
    "plugins/behest-pydantic-ai: *": "of the runs under way",
    "plugins/behest-strands: *": "of the runs under way",
}
"""Why the others need no bound, or what bounds them."""

CACHES = {"cache", "lru_cache"}
MAKERS = {"dict", "list", "set", "deque", "defaultdict", "OrderedDict", "Counter", "WeakSet", "BoundedCache"}
CONTAINERS = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)


def name_of(node):
    """Return the name of what is called or assigned to; an empty text where it has none."""
    if isinstance(node, ast.Subscript | ast.Call):
        return name_of(node.value if isinstance(node, ast.Subscript) else node.func)
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def kept(path):
    """Return what may hold many things for long: the names of caches, and of objects' and the module's containers."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and CACHES & set(map(name_of, node.decorator_list)):
            yield node.name
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        maker = name_of(node.value) if isinstance(node.value, ast.Call) else ""
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            is_of_an_object = isinstance(target, ast.Attribute)
            is_variable = (
                node in tree.body and not name_of(target).strip("_").isupper() and name_of(target) != "__all__"
            )
            if maker in {"BoundedCache"} | CACHES or (
                (is_of_an_object or is_variable) and (maker in MAKERS or isinstance(node.value, CONTAINERS))
            ):
                yield name_of(target)


def test_everything_that_holds_many_things_for_long_is_known_to_be_bounded():
    known = BOUNDED_CACHES | OTHERS.keys()
    found = set()
    for path in SOURCES:
        place = path.relative_to(ROOT).as_posix()
        whole = next((each for each in (place, "/".join(place.split("/")[:2])) if f"{each}: *" in known), None)
        found |= {f"{place}: {name}" if whole is None else f"{whole}: *" for name in kept(path)}
    assert found == known


# ---------------------------------------------------------------- filled with the largest there is


def held_by(act):
    """Return the bytes that are held after something that returns what holds them."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        holder = act()
        return tracemalloc.get_traced_memory()[0] - before, holder
    finally:
        tracemalloc.stop()


def long(n, characters):
    return f"{n:06}".ljust(characters, WIDE)


def heads():
    log = event_table.EventLog(None, "events")
    for n in range(4_000):
        log._heads.put(long(n, 255), 10**15)
    return log


def seen():
    class Index:
        """An index whose first shard has many runs with the longest ids, a page of which is 1 MB."""

        pages = ([long(n, 255) for n in range(page, page + 1_000)] for page in range(0, 8_000, 1_000))

        def query(self, **_):
            ids = next(Index.pages, [])
            items = [{"run_id": {"S": each}, "created_at": {"S": "2"}} for each in ids]
            return {"Items": items} | ({"LastEvaluatedKey": {}} if ids else {})

    found = state_table.StateTable(Index(), "states").run_ids(since="2026-01-31T12:00:00Z")
    assert sum(1 for _ in zip(found, range(7_000), strict=False)) == 7_000
    return found


def tools():
    tools = open_tools.OpenTools()
    for _ in range(2):
        for n in range(60):
            event = ToolExecutionStarted(call_id=long(n, 50_000), tool_name=long(n, 50_000), timestamp=at(1))
            tools.note(encode(event))
        tools.end_all("cancelled")
    return tools


def steps():
    run = recorder.RunRecorder(event_table.EventLog(None, "events"), run_record())
    for n in range(60):
        run._steps_started.put(long(n, 100_000), 1.0)
    return run


def once_told():
    told = conversation.Told()
    for n in range(2_000):
        told._once(f"the {n}th prompt")
    return told


def rates():
    found = prices.Rates(prices.shipped())
    for n in range(20):
        found.of(long(n, 100_000))
    for n in range(2_000):
        found.of(f"{n}")
    return found


KEPT_BYTES = 4 * MEGABYTE


def states():
    projector = Projector(None, None, kept_bytes=KEPT_BYTES)
    for attribute in [*RunState.__struct_fields__, None]:
        written = pickle.dumps(only(attribute))
        for n in range(60):
            projector._kept.put(f"{attribute}-{n}", pickle.loads(written))
    return projector


@pytest.mark.parametrize(
    ("fill", "limit"),
    [
        (heads, event_table._HEADS_BYTES),
        (seen, state_table._SEEN_BYTES + 2 * MEGABYTE),  # and a page of the index
        (tools, 2 * open_tools._BYTES),
        (steps, recorder._STEPS_BYTES),
        (once_told, conversation._ONCE_TOLD_BYTES),
        (rates, prices._REMEMBERED_BYTES + 256 * 1024),  # and the price table
        (states, KEPT_BYTES),
    ],
)
def test_a_cache_is_within_its_bound_when_it_is_filled_with_the_largest_there_is(fill, limit):
    held, _ = held_by(fill)
    assert limit / 20 < held < limit


LARGEST = largest_state()


def only(attribute):
    """Return a state in which one attribute is as large as it can be, or all where that is None."""
    if attribute is None:
        return LARGEST
    return RunState(**{"run_id": RUN} | {attribute: getattr(LARGEST, attribute)})


@pytest.mark.parametrize("attribute", [*RunState.__struct_fields__, None])
def test_a_state_takes_no_more_memory_than_is_reckoned(attribute):
    written = pickle.dumps(only(attribute))
    held, state = held_by(lambda: pickle.loads(written))
    assert held < memory_of(state)
