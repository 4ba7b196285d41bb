"""Which run started which: a run's parent and root, its agent's name, its tags.

- They are told by the run's metadata, under the keys `parent_run_id`, `root_run_id`, `agent` and `tags`, or by a `lineage.Linked`
  event, or by both. What an event says stands over the metadata, a later event over an earlier one. What it leaves out stays.
- Metadata is any JSON. What can't be a run id, a name or a list of texts is left out and counted in `ignored`, as is a run that
  calls itself its parent.
- Agents' names are cut at 128 characters, tags at 64. 16 different tags are kept.

How many children a run has can't be known from its own log. `read_tree` finds a run's whole tree and adds its tokens up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import field

from behest_core.model.events import ModelStarted, RunCancelled, RunCompleted, RunFailed, RunStarted
from behest_core.plugins import Event, Extension, ExtensionState, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import typer

    from behest_core.model.json import JSON
    from behest_core.model.state import RunState
    from behest_core.plugins import RunView
    from behest_core.plugins.panels import Panel

TAGS: Final = 16
"""How many tags are kept."""

_RUN_ID, _AGENT, _TAG = 255, 128, 64  # characters


class Linked(Event, tag="lineage.Linked"):
    """What is known of where the run comes from. What is absent stays as it was; an empty `tags` takes the tags away."""

    parent_run_id: str | None = None
    root_run_id: str | None = None
    agent: str | None = None
    tags: list[str] | None = None


class LineageState(ExtensionState):
    """The slice. `has_metadata` says that the run's metadata was looked at."""

    parent_run_id: str | None = None
    root_run_id: str | None = None
    agent: str | None = None
    tags: list[str] = field(default_factory=list)
    ignored: int = 0
    has_metadata: bool = False


lineage: Final = Extension("lineage", LineageState, version=1)


def _has_no_metadata(state: LineageState) -> bool:
    return not state.has_metadata


@lineage.on(RunStarted, ModelStarted, RunCompleted, RunFailed, RunCancelled, Linked, when=_has_no_metadata)
def look(state: LineageState, event: Event, run: RunView) -> None:  # noqa: ARG001 (a handler's signature)
    """Look at the run's metadata, once."""
    look_at_metadata(state, run.run_id, run.metadata)


@lineage.on(Linked)
def link(state: LineageState, event: Linked, run: RunView) -> None:
    """Take what the event says."""
    said = {
        "parent_run_id": event.parent_run_id,
        "root_run_id": event.root_run_id,
        "agent": event.agent,
        "tags": event.tags,
    }
    _take(state, run.run_id, said)


def look_at_metadata(state: LineageState, run_id: str, metadata: JSON) -> None:
    """Take what the run's metadata says."""
    state.has_metadata = True
    if isinstance(metadata, dict):
        _take(state, run_id, metadata)


def _take(state: LineageState, run_id: str, said: Mapping[str, Any]) -> None:
    parent, root, agent, tags = (said.get(key) for key in ("parent_run_id", "root_run_id", "agent", "tags"))
    if _is_text(parent, _RUN_ID) and parent != run_id:
        state.parent_run_id = parent
    else:
        state.ignored += parent is not None
    if _is_text(root, _RUN_ID):
        state.root_run_id = root
    else:
        state.ignored += root is not None
    if isinstance(agent, str):
        state.agent = agent[:_AGENT]
    else:
        state.ignored += agent is not None
    if isinstance(tags, list):
        texts = [tag[:_TAG] for tag in tags if isinstance(tag, str) and tag]
        state.ignored += len(tags) - len(texts)
        state.tags = list(dict.fromkeys(texts))[:TAGS]
    else:
        state.ignored += tags is not None


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= longest


@hookimpl
def behest_event_types() -> Sequence[type[Event]]:
    """Return `lineage.Linked`."""
    return [Linked]


@hookimpl
def behest_extensions() -> Sequence[Extension]:
    """Return the extension `lineage`."""
    return [lineage]


@hookimpl
def behest_summary(state: RunState) -> dict[str, str]:
    """Return the run's parent and root, where they are known."""
    known = state.slice_of("lineage")
    found = {name: known.get(name) for name in ("parent_run_id", "root_run_id")}
    return {name: value for name, value in found.items() if isinstance(value, str)}


@hookimpl
def behest_panels() -> Sequence[Panel]:
    """Return what is shown of a run and of a session."""
    from behest_lineage.panels import PANELS  # noqa: PLC0415 (it imports this module)

    return PANELS


@hookimpl
def behest_commands(app: typer.Typer) -> None:
    """Add `behest lineage`."""
    from behest_lineage.command import show_tree  # noqa: PLC0415 (typer and rich are there only with the command)

    app.command(name="lineage")(show_tree)
