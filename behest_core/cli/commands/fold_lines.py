"""`behest fold`: what the runs of a file fold to. Needs no tables."""

from functools import partial

from behest_core.cli.arguments import File, SkipInvalid
from behest_core.cli.lines import Invalid, open_lines, read_runs
from behest_core.cli.progress import lines_bar
from behest_core.cli.used_plugins import dispatch_of_plugins
from behest_core.interchange import fold_line, write_state
from behest_core.terminal import say, write_line
from behest_core.wording import amount


def fold_lines(file: File, *, skip_invalid: SkipInvalid = False) -> None:
    """Fold runs from JSON lines; write one state per line.

    It needs no tables and no AWS, and answers each line as it comes.
    """
    fold = partial(fold_line, dispatch=dispatch_of_plugins())
    with open_lines(file) as lines, lines_bar(lines.size, results_too=True) as bar:
        invalid = Invalid(bar.messages, skip=skip_invalid)
        for state in read_runs(lines, invalid, fold):
            write_line(write_state(state))
            bar.advance(state.event_count, lines.position)
    if invalid.count:
        say(f"{amount(invalid.count, 'line')} skipped")
