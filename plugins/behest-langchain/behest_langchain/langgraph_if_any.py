"""What of LangGraph the handler needs. Without LangGraph these are names that nothing goes by.

A LangGraph before 1.2 doesn't tell of its pauses, so that a paused run would read as completed. Importing fails with one.
"""

from __future__ import annotations

try:
    from langgraph.errors import GraphBubbleUp, GraphInterrupt
except ImportError:
    from langchain_core.callbacks import BaseCallbackHandler as GraphCallbackHandler

    class GraphBubbleUp(Exception):  # type: ignore[no-redef]  # noqa: N818 (LangGraph's name)
        """Never raised."""

    class Command:
        """Never made."""

        resume: object = None
        update: object = None

    GraphDrained = GraphInterrupt = GraphBubbleUp  # type: ignore[assignment,misc]
else:
    from langgraph.callbacks import GraphCallbackHandler
    from langgraph.errors import GraphDrained  # type: ignore[assignment]
    from langgraph.types import Command  # type: ignore[assignment]

__all__ = ["Command", "GraphBubbleUp", "GraphCallbackHandler", "GraphDrained", "GraphInterrupt"]
