"""Faults of records and deliveries, and of the functions that get them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from behest_core import runtime
from behest_core.plugins import loading
from behest_core.projection.reconciler import Reconciler
from behest_core.testing.local_function import LocalFunction
from behest_core.testing.local_stack import PROJECTOR
from behest_core.testing.template import Template
from tests.alarms.making import QUARTER, raising, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.alarms.watch import Watch


def late(watch: Watch) -> None:
    write(watch)
    watch.sweep()


def lost_record(watch: Watch) -> None:
    write(watch)
    watch.becomes(lambda *_: {})
    watch.wait(1)
    watch.sweep()


def always(error: type[BaseException], minutes: int = QUARTER) -> Callable[[Watch], None]:
    """Return what lets each call of the projector end in an error."""

    def befall(watch: Watch) -> None:
        write(watch)
        watch.becomes(raising(error))
        watch.wait(minutes)

    return befall


def slow(watch: Watch) -> None:
    write(watch)
    real = watch.stack.mapping.handler

    def handler(event: Any, context: Any) -> Any:
        watch.clock.advance(59)
        return real(event, context)

    watch.stack.mapping.handler = handler
    watch.wait(QUARTER)


def twice(watch: Watch) -> None:
    real = watch.stack.mapping.handler

    def handler(event: Any, context: Any) -> Any:
        real(event, context)
        return real(event, context)

    watch.stack.mapping.handler = handler
    write(watch)


def again(watch: Watch) -> None:
    """What was delivered in the beginning comes again when the next batch does."""
    batches: list[Any] = []
    real = watch.stack.mapping.handler

    def handler(event: Any, context: Any) -> Any:
        batches.append(event)
        real(batches[0], context)
        return real(event, context)

    watch.stack.mapping.handler = handler
    write(watch, "run-0")
    watch.wait(2)
    write(watch)
    watch.wait(2)
    assert len(batches) > 1


def cold(watch: Watch) -> None:
    write(watch)
    watch.wait(1)
    watch.becomes(LocalFunction(Template().function(PROJECTOR), watch.stack.output))
    write(watch, "run-2")


def notifier_becomes(error: type[BaseException], minutes: int = QUARTER) -> Callable[[Watch], None]:
    def befall(watch: Watch) -> None:
        write(watch)
        watch.stack._notifier.mapping.handler = watch.metered("NotifierFunction", raising(error))
        watch.wait(minutes)

    return befall


def reaction_raises(watch: Watch) -> None:
    plugin = loading.Plugin("broken", reactions=(raising(RuntimeError),))
    with patch.object(runtime, "load_plugins", lambda _: loading.Plugins(used=(plugin,))):
        write(watch)
        watch.wait(3)


def sweeps_fail(watch: Watch) -> None:
    with patch.object(Reconciler, "sweep", raising(RuntimeError)):
        for _ in range(3):
            watch.sweep()
            watch.wait(2)


def counted_by_aws(namespace: str, name: str, of: str) -> Callable[[Watch], None]:
    """Return what lets AWS count one, each minute: nothing of this can be played here."""

    def befall(watch: Watch) -> None:
        for _ in range(QUARTER):
            watch.count(namespace, name, of, 1)
            watch.clock.advance(60)

    return befall
