"""Extensions folded beside the core: their life cycle, and what they can't do."""

import random

import pytest

from behest_core.errors import PluginError
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import fold, replay, start
from behest_core.model.events import Event, ModelStarted, RunStarted, TextDelta, UsageRecorded
from behest_core.model.limits import EXTENSION_BYTES
from behest_core.model.state import ExtensionSlice, RunStatus
from behest_core.plugins import Extension, ExtensionState
from tests.builders import (
    RUN,
    at,
    commit,
    custom,
    model_started,
    poison,
    raw_commit,
    record_commit,
    run_record,
    run_started,
    step,
    text_delta,
    usage_recorded,
)


class Requested(Event, tag="approvals.Requested"):
    call_id: str


class Approvals(ExtensionState):
    pending: int = 0
    calls: list[str] = []
    seen: list[tuple[int, str]] = []


class Words(ExtensionState):
    count: int = 0
    worst: float = 0.0


class Odd(ExtensionState):
    by_name: dict[str, int] = {}


def approvals(version=1):
    extension = Extension("approvals", Approvals, version=version)

    @extension.on(Requested)
    def count(state, event, run):
        state.pending += version
        state.calls.append(event.call_id)
        state.seen.append((run.sequence, run.updated_at))

    return extension


def words(fails_at=None, worst=1.0):
    extension = Extension("words", Words)

    @extension.on(TextDelta)
    def count(state, event, run):
        state.count += 1
        if event.delta == fails_at:
            raise RuntimeError(f"payload: {event.delta}")
        if event.delta == "nan":
            state.worst = worst

    return extension


def dispatch(*extensions):
    return Dispatch(extensions or (approvals(), words()), [Requested])


BOTH = dispatch()
LOG = [
    record_commit(),
    commit(1, run_started(1), custom(2), text_delta(3)),
    commit(4, text_delta(4, "two"), usage_recorded(5), custom(6)),
    commit(7, model_started(7), text_delta(8, "three")),
]


def state_of(*commits, using=BOTH):
    return fold(None, commits, using).state


def plain(state):
    state.revision = 0
    return state


# ---------------------------------------------------------------- folding


def test_an_extension_folds_its_own_events_and_the_cores_into_its_slice():
    state = state_of(*LOG)
    assert state.extensions["approvals"].state["calls"] == ["call-1", "call-1"]
    assert (state.extensions["words"].state["count"], state.extensions["words"].sequence) == (3, 8)


def test_the_core_is_the_same_with_and_without_extensions():
    state = state_of(*LOG)
    state.extensions = {}
    assert state == state_of(*LOG, using=CORE)


def test_a_handler_sees_the_run_as_it_is_after_the_event_however_the_log_is_cut():
    assert state_of(*LOG).extensions["approvals"].state["seen"] == [[2, at(2)], [6, at(6)]]


def test_any_cut_into_batches_gives_the_same():
    draw = random.Random(3)
    whole = state_of(*LOG)
    for _ in range(20):
        state, commits = None, LOG
        while commits:
            size = draw.randint(1, 3)
            batch, commits = commits[:size], commits[size:]
            assert step(state, batch, BOTH) == "fold"
            state = fold(state, batch, BOTH).state
        assert plain(state) == whole


def test_an_event_type_that_is_listened_to_need_not_be_given():
    assert state_of(*LOG, using=Dispatch([approvals(), words()])) == state_of(*LOG)


def test_duplicates_change_nothing():
    assert not fold(state_of(*LOG), LOG, BOTH).changed


def test_a_record_that_comes_late_is_seen_by_the_handlers_from_the_first_event_on():
    teams = Extension("teams", Approvals)

    @teams.on(TextDelta)
    def look(state, event, run):
        state.calls.append(f"{run.metadata} {run.created_at}")

    using = dispatch(teams)
    log = [record_commit(run_record(metadata="blue")), *LOG[1:]]
    without = fold(None, log[1:], using).state
    assert step(without, log[:1], using)[0] == "read"
    assert fold(without, log, using).state == state_of(*log, using=using)


def test_an_extension_that_no_event_concerned_has_a_slice_with_its_checkpoint():
    slice_ = state_of(LOG[0], commit(1, run_started())).extensions["approvals"]
    assert (slice_.state, slice_.sequence, slice_.version) == ({"pending": 0, "calls": [], "seen": []}, 1, 1)


# ---------------------------------------------------------------- life cycle


def test_an_extension_installed_over_existing_runs_catches_up_from_the_log():
    before = state_of(*LOG[:3], using=CORE)
    assert step(before, LOG[3:], BOTH) == ("read", -1)
    assert start(before, BOTH).after == -1
    assert plain(fold(before, LOG, BOTH).state) == state_of(*LOG)


def test_events_recorded_before_their_plugin_existed_are_folded_when_it_arrives():
    state = fold(state_of(*LOG, using=CORE), LOG, BOTH).state
    assert state.extensions["approvals"].state["pending"] == 2


def test_a_raised_version_folds_the_run_again_and_the_other_slices_end_where_they_were():
    state = fold(state_of(*LOG[:3]), LOG, dispatch(approvals(version=2), words())).state
    assert (state.extensions["approvals"].state["pending"], state.extensions["approvals"].version) == (4, 2)
    assert state.extensions["words"] == state_of(*LOG).extensions["words"]


def test_an_extension_that_is_uninstalled_keeps_its_slice_and_catches_up_when_it_is_back():
    state = state_of(*LOG[:2])
    state = fold(state, LOG[2:], dispatch(words())).state
    assert state.extensions["approvals"].sequence == 3
    assert step(state, [commit(9, text_delta())], BOTH)[0] == "read"
    assert plain(fold(state, LOG, BOTH).state) == state_of(*LOG)


# ---------------------------------------------------------------- parking


def test_a_handler_that_raises_parks_its_slice_at_the_commits_beginning_and_nobody_else():
    state = state_of(*LOG, using=dispatch(approvals(), words(fails_at="two")))
    parked = state.extensions["words"]
    assert (parked.state["count"], parked.sequence, parked.parked.sequence) == (1, 3, 4)
    assert (parked.parked.error, parked.parked.version) == ("RuntimeError", 1)
    assert "payload" not in parked.parked.message
    assert state.extensions["approvals"].state["pending"] == 2
    assert (state.sequence, state.parked, state.status) == (8, None, RunStatus.CALLING_MODEL)


def test_new_events_do_not_retry_a_parked_slice():
    broken = dispatch(approvals(), words(fails_at="two"))
    state = state_of(*LOG, using=broken)
    folded = fold(state, [commit(9, text_delta(9), custom(10))], broken)
    assert folded.state.extensions["words"].sequence == 3
    assert folded.state.extensions["approvals"].state["pending"] == 3


def test_a_resumed_slice_catches_up_and_the_others_are_not_folded_twice():
    state = state_of(*LOG, using=dispatch(approvals(), words(fails_at="two")))
    state.extensions["words"].parked = None
    assert start(state, BOTH).after == -1
    assert plain(fold(state, LOG, BOTH).state) == state_of(*LOG)


@pytest.mark.parametrize("worst", [float("nan"), float("inf"), 10**39 + 1])
def test_what_cannot_be_stored_parks_the_slice_as_it_was_before_the_commit(worst):
    using = dispatch(words(worst=worst))
    state = state_of(*LOG[:2], commit(4, text_delta(4), text_delta(5, "nan")), using=using)
    slice_ = state.extensions["words"]
    assert (slice_.state["count"], slice_.sequence, slice_.parked.error) == (1, 3, "InvalidValueError")


@pytest.mark.parametrize("text", ["9" * 40, '"' + "9" * 40, "\\" + "9" * 40, 'é"\\"' + "9" * 40])
def test_a_text_may_have_more_digits_than_a_number(text):
    noted = Extension("noted", Approvals)

    @noted.on(TextDelta)
    def note(state, event, run):
        state.calls.append(event.delta)

    slice_ = state_of(record_commit(), commit(1, text_delta(1, text)), using=dispatch(noted)).extensions["noted"]
    assert (slice_.state["calls"], slice_.parked) == ([text], None)


def test_what_only_dynamodb_cannot_store_parks_the_slice_too():
    odd = Extension("odd", Odd)

    @odd.on(TextDelta)
    def break_it(state, event, run):
        state.by_name[""] = 1

    slice_ = state_of(*LOG[:2], using=dispatch(odd, words())).extensions["odd"]
    assert (slice_.state, slice_.parked.error) == ({"by_name": {}}, "InvalidValueError")


def test_a_slice_has_a_cap_of_its_own():
    greedy = Extension("greedy", Approvals)

    @greedy.on(TextDelta)
    def grow(state, event, run):
        state.calls.append(event.delta * 1000)

    log = [record_commit(), *(commit(n, text_delta(n, "x" * 9)) for n in range(1, 12))]
    slice_ = state_of(*log, using=dispatch(greedy, words())).extensions["greedy"]
    assert (slice_.parked.error, slice_.parked.sequence, slice_.sequence) == ("StateTooLargeError", 8, 7)
    assert sum(map(len, slice_.state["calls"])) < EXTENSION_BYTES


def test_an_event_that_only_an_extension_cannot_read_parks_that_extension_only():
    odd = raw_commit(9, 1, b'[{"type":"TextDelta","timestamp":"2026-01-31T12:00:09Z","delta":5}]')
    state = state_of(*LOG, odd)
    assert (state.parked, state.sequence) == (None, 9)
    assert (state.extensions["words"].parked.sequence, state.extensions["words"].sequence) == (9, 8)
    assert state.extensions["approvals"].sequence == 9


def test_where_the_core_parks_the_extensions_stop_with_it():
    state = state_of(*LOG, poison(9))
    assert (state.parked.sequence, state.sequence) == (10, 9)
    assert state.extensions["words"].sequence == 9


def test_an_extension_that_needs_events_that_are_gone_is_parked_and_the_run_moves_on():
    state = fold(state_of(*LOG[:3], using=CORE), LOG[3:], BOTH).state
    assert state.sequence == 8
    assert state.extensions["words"].parked.error == "LogTruncatedError"
    assert step(state, [commit(9, text_delta())], BOTH) == "fold"


def test_a_version_that_is_raised_over_a_log_that_is_gone_leaves_the_slice_as_it_was():
    before = state_of(*LOG[:3])
    slice_ = before.extensions["approvals"]
    state = fold(before, LOG[3:], dispatch(approvals(version=2), words())).state
    parked = state.extensions["approvals"]
    assert (parked.state, parked.sequence, parked.version) == (slice_.state, 6, 1)
    assert (parked.parked.error, parked.parked.version) == ("LogTruncatedError", 2)
    assert (state.sequence, state.extensions["words"].sequence) == (8, 8)
    assert step(state, [commit(9, text_delta())], dispatch(approvals(version=2), words())) == "fold"
    assert state_of(*LOG, using=dispatch(approvals(version=2))).extensions["approvals"].parked is None


# ---------------------------------------------------------------- what handlers can't do


@pytest.mark.parametrize("field", ["status", "metadata", "sequence", "total_usage"])
def test_a_handler_cannot_change_the_run(field):
    meddler = Extension("meddler", Words)

    @meddler.on(ModelStarted)
    def meddle(state, event, run):
        setattr(run, field, None)

    state = state_of(*LOG, using=dispatch(meddler))
    assert state.extensions["meddler"].parked.error == "AttributeError"


def test_what_a_handler_does_to_the_runs_metadata_stays_with_it():
    meddler = Extension("meddler", Words)

    @meddler.on(UsageRecorded)
    def meddle(state, event, run):
        run.total_usage.input_tokens = 0

    assert state_of(*LOG, using=dispatch(meddler)).total_usage.input_tokens == 10


class Waiting(ExtensionState):
    is_waiting: bool = False
    first: list[str] = []
    asked: int = 0


def first_words(*, fails=False, also=()):
    extension, asked = Extension("first-words", Waiting), []

    def is_waiting(state):
        asked.append(state)
        if fails:
            raise RuntimeError
        return state.is_waiting

    @extension.on(ModelStarted)
    def wait(state, event, run):
        state.is_waiting = True

    @extension.on(TextDelta, *also, when=is_waiting)
    def keep(state, event, run):
        state.first.append(f"{event.timestamp} {run.sequence}")
        state.is_waiting = False

    return extension, asked


def test_a_handler_is_called_only_while_its_condition_holds_and_that_is_not_asked_at_each_event():
    extension, asked = first_words()
    texts = [text_delta(second) for second in range(10, 59)]
    log = [record_commit(), commit(1, run_started(), *texts), commit(51, model_started(), *texts)]
    slice_ = state_of(*log, using=dispatch(extension)).extensions["first-words"]
    assert slice_.state["first"] == [f"{at(10)} 52"]
    assert len(asked) < 10


def test_a_type_that_one_listens_to_always_is_told_to_the_others_only_while_they_wait():
    extension, _ = first_words()
    state = state_of(*LOG, using=dispatch(extension, words()))
    assert (state.extensions["first-words"].state["first"], state.extensions["words"].state["count"]) == (
        [f"{at(8)} 8"],
        3,
    )


def test_a_type_of_the_core_that_nobody_waits_for_is_still_the_cores():
    extension, _ = first_words(also=[RunStarted])
    log = [record_commit(), commit(1, text_delta(), run_started(provider="other"))]
    assert state_of(*log, using=dispatch(extension)).provider == "other"


def test_a_condition_that_raises_parks_its_slice():
    extension, _ = first_words(fails=True)
    state = state_of(*LOG, using=dispatch(extension, words()))
    assert (state.extensions["first-words"].parked.error, state.extensions["first-words"].parked.sequence) == (
        "RuntimeError",
        3,
    )
    assert state.extensions["words"].state["count"] == 3


def test_a_handler_sees_the_position_of_each_event_also_of_one_that_is_there_twice():
    same = text_delta()
    seen = Extension("seen", Approvals)

    @seen.on(TextDelta)
    def look(state, event, run):
        state.seen.append((run.sequence, str(run.event_count)))

    state = replay(run_record(), RUN, [[same, run_started(), same, same]], dispatch(seen))
    assert state.extensions["seen"].state["seen"] == [[1, "1"], [3, "3"], [4, "4"]]


# ---------------------------------------------------------------- upcasters


def test_an_old_shape_of_an_event_is_brought_into_the_new_one():
    using = Dispatch(
        [approvals()], [Requested], {"approvals.Requested": lambda old: {"call_id": old.get("id", "?"), **old}}
    )
    old = raw_commit(1, 1, b'[{"type":"approvals.Requested","timestamp":"2026-01-31T12:00:09Z","id":"old"}]')
    assert state_of(record_commit(), old, using=using).extensions["approvals"].state["calls"] == ["old"]


def test_an_upcaster_that_raises_parks_the_extensions_that_listen():
    def upcast(old):
        raise KeyError(old["secret"])

    using = Dispatch([approvals(), words()], [Requested], {"approvals.Requested": upcast})
    state = state_of(*LOG, using=using)
    assert state.extensions["approvals"].parked.error == "KeyError"
    assert state.extensions["words"].state["count"] == 3


def test_a_stored_slice_that_the_class_cannot_read_is_parked_as_it_is_until_its_version_is_raised():
    state = state_of(*LOG[:3])
    state.extensions["approvals"] = ExtensionSlice.of({"pending": "many"}, sequence=6, version=1)
    log = [*LOG, commit(9, text_delta(), custom())]
    state = fold(state, log[3:], BOTH).state
    slice_ = state.extensions["approvals"]
    assert (slice_.parked.error, slice_.parked.sequence) == ("ValidationError", 10)
    assert (slice_.sequence, slice_.state) == (8, {"pending": "many"})
    assert "raise the version of approvals" in slice_.parked.message
    assert state.extensions["words"].state["count"] == 4
    state = fold(state, log, dispatch(approvals(version=2), words())).state
    assert (state.extensions["approvals"].state["pending"], state.extensions["approvals"].parked) == (6, None)


class Numbered(ExtensionState):
    by_number: dict[int, int] = {}


def test_keys_that_are_numbers_come_back_as_numbers():
    numbered = Extension("numbered", Numbered)

    @numbered.on(TextDelta)
    def note(state, event, run):
        state.by_number[1] = state.by_number.get(1, 0) + 1

    state = state_of(*LOG[:2], using=dispatch(numbered))
    assert fold(state, LOG[2:], dispatch(numbered)).state.extensions["numbered"].state == {"by_number": {"1": 3}}


# ---------------------------------------------------------------- refused


class Unstorable(ExtensionState):
    thing: object = object()


class WithoutDefault(ExtensionState):
    needed: int


class Other(Event, tag="approvals.Requested"):
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Extension("Bad Name", Words), "Bad Name"),
        (lambda: Extension("words", Words, version=0), "version 0"),
        (lambda: Extension("words", Unstorable), "can't be stored"),
        (lambda: Extension("words", WithoutDefault), "default"),
        (lambda: Extension("words", Words).on(str), "takes event classes"),
        (lambda: Dispatch([words(), words()]), "two extensions claim the name words"),
        (lambda: Dispatch([], [Requested, Other]), "two event classes claim the type approvals.Requested"),
        (lambda: Dispatch([approvals()], [Other]), "two event classes claim the type approvals.Requested"),
    ],
)
def test_what_would_not_work_is_refused_when_it_is_made(make, message):
    with pytest.raises(PluginError, match=message):
        make()
