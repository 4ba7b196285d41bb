"""What pip needs to install plugins into the layer: ``python layer_plugins.py REQUIREMENTS FOLDER``.

Plugins depend on behest-core, which lies in the layer as a folder, not as a package that pip knows. So pip gets a wheel of it
that holds nothing, and the pins of layer.txt as constraints. Without a plugin in REQUIREMENTS nothing is made. Works with any
Python.
"""

# ruff: noqa: INP001 (a program of the Makefile, in no package)

import re
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(requirements: Path, folder: Path) -> None:
    """Make FOLDER/plugins with the empty wheel and constraints.txt, if REQUIREMENTS names anything."""
    lines = (line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    if not any(lines):
        return
    pins = re.findall(r"^[A-Za-z0-9._-]+==[^ ;]+", (HERE / "layer.txt").read_text(encoding="utf-8"), re.MULTILINE)
    declared = re.search(
        r'^version = "(.+)"$', (HERE.parent / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    version = f"{declared.group(1)}+layer"  # none of that name is on any index
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "constraints.txt").write_text("\n".join([f"behest-core=={version}", *pins, ""]), encoding="utf-8")
    info = f"behest_core-{version}.dist-info"
    extras = "Provides-Extra: cli\nProvides-Extra: lambda\nProvides-Extra: testing\n"
    with zipfile.ZipFile(plugins / f"behest_core-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: behest-core\nVersion: {version}\n{extras}")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: behest\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
