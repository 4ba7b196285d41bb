"""Which alarm sees which fault.

Most faults are healed without anybody noticing when they strike once, so here each strikes every time for as long as it takes.
`HEALED` are those that behest doesn't mind at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.testing import FunctionKilled, InvocationThrottled
from tests.alarms import calls, deliveries, runs
from tests.alarms.calls import each_query, each_read, refused
from tests.alarms.deliveries import always, counted_by_aws, notifier_becomes
from tests.alarms.runs import poisoned
from tests.simulation.poison import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.alarms.watch import Watch

HEALED: dict[str, Callable[[Watch], None]] = {
    "stale_read": each_query(calls.stale),
    "short_page": each_query(calls.in_short_pages),
    "duplicate_delivery": deliveries.twice,
    "stale_delivery": deliveries.again,
    "cold_start": deliveries.cold,
    "break_state": runs.state_broken,
    "all that operators, readers and time do": runs.operated,
}

NO_FAULTS = {"sweep", "resume", "rebuild", "delete", "expire", "read"}
"""What the simulation draws as it draws faults. `runs.operated` does it all."""

NOT_OURS = {"shard_split"}
"""The stream's own: nothing of it reaches a function but which records come in one batch."""

OF_THE_SIMULATION: dict[str, tuple[str, Callable[[Watch], None]]] = {
    "crash_before": ("ProjectorErrorsAlarm", always(FunctionKilled)),
    "crash_after": ("ProjectorErrorsAlarm", always(FunctionKilled)),
    "throttle": ("RunsUnfinishedAlarm", each_read(lambda _: refused("ThrottlingException"))),
    "lost_response": ("RunsUnfinishedAlarm", each_read(lambda _: calls.lost)),
    "lost_and_gave_up": ("RunsUnfinishedAlarm", each_read(lambda _: calls.lost)),
    "stall": ("RunsUnfinishedAlarm", each_read(calls.stalled)),
    "unprocessed_keys": ("RunsUnfinishedAlarm", each_read(lambda _: calls.unprocessed)),
    "late_record": ("RunsLaggingAlarm", deliveries.late),
    "lost_record": ("RunsLaggingAlarm", deliveries.lost_record),
    "invocation_throttled": ("ProjectorThrottlesAlarm", always(InvocationThrottled)),
    "slow_invocation": ("RunsUnfinishedAlarm", deliveries.slow),
    "zombie": ("ProjectorErrorsAlarm", always(TimeoutError)),
    "odd_error": ("RunsRaisedAlarm", runs.fold_raises),
    "restore_log": ("RunsDivergedAlarm", runs.restored_and_written_on),
    "restore_state": ("RunsLaggingAlarm", runs.state_restored),
    "deadly": ("ProjectorErrorsAlarm", poisoned("deadly")),
} | {kind: ("RunsParkedAlarm", poisoned(kind)) for kind in KINDS if kind != "deadly"}

OF_OPERATORS: dict[str, tuple[str, Callable[[Watch], None]]] = {
    "a disabled mapping of the notifier": ("MappingsDisabledAlarm", runs.stream_not_read),
    "a plugin refused in the notifier only": ("PluginsRefusedAlarm", runs.refused_in_the_notifier_only),
    "a run that blocks its shard": ("RunsUnfinishedAlarm", calls.blocked),
    "a state ahead of its log": ("StatesAheadAlarm", runs.restored),
}


OF_THE_STACK: dict[str, tuple[str, Callable[[Watch], None]]] = {
    "the projector falls behind": ("ProjectorLagAlarm", always(FunctionKilled, 20)),
    "the notifier falls behind": ("NotifierLagAlarm", notifier_becomes(FunctionKilled, 20)),
    "the notifier fails": ("NotifierErrorsAlarm", notifier_becomes(RuntimeError)),
    "the notifier is throttled": ("NotifierThrottlesAlarm", notifier_becomes(InvocationThrottled)),
    "the reconciler fails": ("ReconcilerErrorsAlarm", deliveries.sweeps_fail),
    "the reconciler is throttled": (
        "ReconcilerThrottlesAlarm",
        counted_by_aws("AWS/Lambda", "Throttles", "ReconcilerFunction"),
    ),
    "a sweep is cut short": ("SweepsCutShortAlarm", calls.sweep_takes_long),
    "nobody sweeps": ("SweepsMissingAlarm", lambda watch: watch.clock.advance(25 * 60 * 60)),
    "a plugin's handler raises": ("ExtensionsParkedAlarm", runs.broken_plugin),
    "a plugin's reaction raises": ("ReactionsQueueAlarm", deliveries.reaction_raises),
    "a change can't be told": ("NotifierFailureQueueAlarm", runs.change_too_large),
    "folding a run raises": ("RunsRaisedAlarm", runs.fold_raises),
    "a log has a gap": ("LogGapsAlarm", runs.gap),
    "a commit is changed": ("TamperedItemsAlarm", runs.tampered),
    "a lost batch waits": ("FailureQueueAlarm", always(RuntimeError, 80)),
    "a lost batch is given up": (
        "DeadLetterQueueAlarm",
        counted_by_aws("AWS/SQS", "ApproximateNumberOfMessagesVisible", "DeadLetterQueue"),
    ),
}
SEEN_BY = OF_THE_SIMULATION | OF_OPERATORS | OF_THE_STACK
