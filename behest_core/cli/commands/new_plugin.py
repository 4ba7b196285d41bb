"""`behest plugin new NAME`: writes a plugin's package, that works and passes its own tests, to be changed."""

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from behest_core.cli.arguments import CommandError
from behest_core.terminal import write_text

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEMPLATES: Final = Path(__file__).with_name("plugin_template")


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin's name: lower case, with dashes.")],
    *,
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write it; by default a new folder behest-NAME.")
    ] = None,
) -> None:
    """Write a plugin's package: an event, an extension that counts it, tests, a README.

    It works as it is. The folder must not be there, or be empty.
    """
    if not _NAME.fullmatch(name) or name == "core" or len(name) > 40:
        raise typer.BadParameter("a name is lower case letters, digits and single dashes, at most 40, and not core")
    target = folder or Path(f"behest-{name}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandError(f"{target} is there already; pass --folder with one that is not")
    module = f"behest_{name.replace('-', '_')}"
    words = {
        "NAME": name,
        "MODULE": module,
        "CLASS": "".join(part.capitalize() for part in name.split("-")),
        "VARIABLE": name.replace("-", "_"),
    }
    for template, path in (
        ("pyproject.toml.txt", "pyproject.toml"),
        ("module.py.txt", f"{module}.py"),
        ("test_module.py.txt", f"tests/test_{name.replace('-', '_')}.py"),
        ("README.md.txt", "README.md"),
    ):
        written = target / path
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(_filled(_TEMPLATES.joinpath(template).read_text(encoding="utf-8"), words), encoding="utf-8")
    write_text(f"wrote {target}; next: cd {target} && pip install --editable '.[test]' && pytest")


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: words[found[1]], text)


plugin = typer.Typer(no_args_is_help=True, help="Write a plugin.")
plugin.callback()(lambda: None)
plugin.command("new")(new_plugin)
