"""Let functions run by default on a Python that the built layer has bytecode for: ``python built_runtime.py TEMPLATE LAYER``.

Bytecode is made by the Pythons of the machine that builds. Where the one of the template's default Runtime is not among them, the
default of TEMPLATE, the built one, becomes the newest that is; LAYER is the built layer's folder. A stack that is there keeps the
Runtime that it has, and whoever names one gets that. Works with any Python.
"""

# ruff: noqa: INP001 (a program of the Makefile, in no package)

import re
import sys
from pathlib import Path

DEFAULT = re.compile(r"^(  Runtime:\n(?:    .*\n)*?    Default: )python(\d+\.\d+)$", re.MULTILINE)


def main(template: Path, layer: Path) -> None:
    """Change the default, and say so; say it too where no runtime has bytecode."""
    compiled = sorted(
        int(file.suffixes[0].removeprefix(".cpython-3"))
        for file in layer.glob("python/behest_core/__pycache__/__init__.*.pyc")
    )
    text = template.read_text(encoding="utf-8")
    default = DEFAULT.search(text)
    if default is None:
        sys.exit(f"{template}: the parameter Runtime has no default")
    version = default.group(2)
    if not compiled:
        say("The layer has no bytecode: cold starts take longer. Build it where there is a runtime's Python.")
    elif version not in {f"3.{minor}" for minor in compiled}:
        chosen = f"3.{compiled[-1]}"
        template.write_text(DEFAULT.sub(rf"\g<1>python{chosen}", text), encoding="utf-8")
        say(f"No python{version} here: a new stack runs on python{chosen}, for which the layer has bytecode.")


def say(line: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
