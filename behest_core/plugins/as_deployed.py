"""Loading plugins as the functions do: without what only the command, the page and the tests have.

The functions' layer has behest's `lambda` extra, the plugins, and what these require themselves. A plugin that imports typer at
its top has it on every laptop, by the extra `cli`, and is refused in the function. So it is tried here without, in a process of
its own, as a module that is imported already isn't imported again.

    python -m behest_core.plugins.as_deployed NAME...

writes a JSON object: for each entry point that is named, null or why it would be refused.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from msgspec.json import decode, encode

from behest_core.plugins.loading import GROUP, load

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

EXTRAS: Final = {
    "jinja2": "jinja2",
    "markdown-it-py": "markdown_it",
    "moto": "moto",
    "pyyaml": "yaml",
    "rich": "rich",
    "typer": "typer",
    "uvicorn": "uvicorn",
}
"""What behest's extras bring and the functions don't have: module by distribution."""

_SECONDS: Final = 60
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def refused_as_deployed(names: Sequence[str]) -> dict[str, str]:
    """Return which of these plugins the functions would refuse, though they are installed, and why.

    Raises RuntimeError where that can't be found out, as a plugin ends the process.
    """
    if not names:
        return {}
    try:
        done = subprocess.run(  # noqa: S603 (this interpreter, and this module)
            [sys.executable, "-m", __name__, *names],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "BEHEST_TRACE": ""},
            timeout=_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise RuntimeError(f"plugins can't be loaded as the functions do: {error}") from error
    found: dict[str, str | None] = decode(done.stdout.splitlines()[-1])
    return {name: reason for name, reason in found.items() if reason is not None}


@contextmanager
def without_extras(kept: Collection[str] = ()) -> Iterator[None]:
    """Let nothing of EXTRAS be imported while the context lasts, but for these modules."""
    hidden = {*EXTRAS.values()}.difference(kept)
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in hidden}
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes Python refuse the import
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def required_by(name: str) -> set[str]:
    """Return the modules of EXTRAS that a plugin's package requires itself, and so brings into the layer.

    `name` is that of its entry point, or of the module that this leads to.
    """
    found = [each.dist for each in entry_points(group=GROUP) if name in {each.name, each.module} and each.dist]
    wanted = [requirement for dist in found for requirement in dist.requires or () if "extra ==" not in requirement]
    names = [match[0] for requirement in wanted if (match := _NAME.match(requirement))]
    return {EXTRAS[name] for each in names if (name := re.sub(r"[-_.]+", "-", each).lower()) in EXTRAS}


def _answer(names: Sequence[str]) -> None:
    reasons: dict[str, str | None] = {}
    for name in names:
        with without_extras(required_by(name)):
            reasons[name] = next((each.refused for each in load([name]).refused), None)
    sys.stdout.write(f"\n{encode(reasons).decode()}\n")  # behind what a plugin may have written


if __name__ == "__main__":
    _answer(sys.argv[1:])
