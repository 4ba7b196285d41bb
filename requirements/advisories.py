"""Whether the pins of lock files have known vulnerabilities: ``python advisories.py FILE…``, in the environment of `make audit`.

pip-audit asks the advisories of the Python Package Index. A vulnerability fails. So does anything that is wrong with a file.
No network doesn't, so that the rest can be checked without; it is said in one line. pip-audit itself passes over pins that
the index doesn't know, and finds none vulnerable where it knows none, as behind a mirror without advisories. Here that is
no network either.
"""

# ruff: noqa: INP001, T201 (a program of the Makefile, in no package, that prints)

import json
import re
import subprocess
import sys
from typing import Any

UNREACHABLE = "advisories could not be reached: the pins are not checked for known vulnerabilities"
_NO_NETWORK = re.compile(
    r"requests\.exceptions\.|Could not connect|not redirecting properly|ServiceError|ConnectionError"
)


def main(files: list[str]) -> int:
    """Check the files, say what was found, and return the exit code."""
    checked = found = 0
    for file in files:
        pins = pins_of(file)
        if pins is None:
            print(UNREACHABLE)
            break
        unknown = [pin["name"] for pin in pins if "skip_reason" in pin]
        if unknown:
            print(f"{file}: no advisories are kept for {', '.join(unknown)}")
        checked += len(pins) - len(unknown)
        found += sum(tell(file, pin) for pin in pins)
    else:
        print(f"{checked} pins checked, {found} known vulnerabilities")
    return 1 if found else 0


def pins_of(file: str) -> list[dict[str, Any]] | None:
    """Return what pip-audit says of each pin, None where it could not ask. Exits where the file is what is wrong."""
    arguments = ["--requirement", file, "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    # S603: the arguments are the Makefile's
    audit = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "pip_audit", *arguments], capture_output=True, text=True, check=False
    )
    if audit.stdout:
        pins: list[dict[str, Any]] = json.loads(audit.stdout)["dependencies"]
        return None if pins and all("skip_reason" in pin for pin in pins) else pins
    if _NO_NETWORK.search(audit.stderr):
        return None
    sys.exit(f"{file} could not be audited:\n{audit.stderr}")


def tell(file: str, pin: dict[str, Any]) -> int:
    """Print a pin's vulnerabilities, and return how many there are."""
    vulnerabilities = pin.get("vulns", [])
    for each in vulnerabilities:
        mended = ", ".join(each["fix_versions"]) or "no version yet"
        print(f"{file}: {pin['name']} {pin['version']}: {each['id']}, mended in {mended}")
    return len(vulnerabilities)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
