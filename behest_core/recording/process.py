"""The writer of this process, and what becomes of it when the process ends or is forked.

- All recorders of a process share one writer, whatever stores they record to.
- At the interpreter's exit, and on SIGTERM where the program has no handler of its own, what was put in is appended. That holds
  the process up for the `exit_wait` of its recorders at most, all of them together. What is lost then is said in the log
  `behest_core`: run ids and counts.
- After a fork the child records anew, and the parent appends what it had.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Final

from behest_core.recording.writer import Writer

if TYPE_CHECKING:
    from types import FrameType

    from behest_core.dynamodb.event_table import EventLog
    from behest_core.recording.outbox import Outbox

_TO_SAY_WHAT_IS_LOST: Final = 2.0  # seconds

_finalizer_of = 0

_logger = logging.getLogger("behest_core")


def unfinished(log: EventLog) -> list[Outbox]:
    """Return what this process has still to append to this log, for whoever waits for it."""
    return [outbox for outbox in writer.unfinished() if outbox.log is log]


def _finish() -> None:
    atexit.unregister(_finish)  # some processes end by both ways
    for outbox, count in writer.finish():
        why = f"within {outbox.exit_wait:g} s" if outbox.error is None else f"for {outbox.error!r}"
        _logger.warning(
            "behest lost %d events of run %s: the process ends, and they could not be appended %s",
            count,
            outbox.record.run_id,
            why,
        )


def _watch_for_the_end() -> None:
    atexit.unregister(_finish)  # once; and anew in a child of multiprocessing, which forgets what its parent registered
    atexit.register(_finish)
    if "multiprocessing.util" in sys.modules:
        _watch_for_the_end_of_a_child()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _stop)


def _watch_for_the_end_of_a_child() -> None:
    """Finish when a process of multiprocessing ends: one that was forked leaves without what atexit knows."""
    from multiprocessing import parent_process, util  # noqa: PLC0415 (is loaded, or of no interest)

    global _finalizer_of  # noqa: PLW0603 (a process has one)
    if parent_process() is not None and _finalizer_of != os.getpid():
        _finalizer_of = os.getpid()
        util.Finalize(None, _finish, exitpriority=0)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a signal handler's arguments)
    # in a thread of its own, and not for ever: the main one may hold an outbox's lock
    finishing = threading.Thread(target=_finish, daemon=True)
    finishing.start()
    finishing.join(writer.exit_wait + _TO_SAY_WHAT_IS_LOST)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


writer = Writer(on_start=_watch_for_the_end)
os.register_at_fork(
    before=writer.before_fork,
    after_in_parent=writer.after_fork_in_parent,
    after_in_child=writer.after_fork_in_child,
)
