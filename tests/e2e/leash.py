"""Run a command for as long as its starter lives: ``python leash.py SECONDS COMMAND [ARGUMENT…]``.

The starter keeps this program's standard input open. When that ends, however the starter ended, when the seconds are over,
or when the command ends by itself, the command's whole process group is stopped. So nothing is left running after a test
run that failed, was interrupted or was killed.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 5


def main(seconds: float, command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (child.wait(), ended.set()), daemon=True).start()
    try:
        hold(ended, time.monotonic() + seconds)
    finally:
        stop_group(child.pid, ended)
    return child.wait()


def hold(ended: threading.Event, deadline: float) -> None:
    """Return when standard input ends, the child has ended, or the deadline is past."""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while not ended.is_set() and time.monotonic() < deadline:
            if selector.select(timeout=0.2) and not os.read(sys.stdin.fileno(), 4096):
                return


def stop_group(group: int, ended: threading.Event) -> None:
    """Ask the group to end, then end it. Members may outlive the leader, so the group is killed in any case."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        ended.wait(GRACE_SECONDS)
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
