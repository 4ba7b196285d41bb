"""The Rust side of the benchmarks (tests/benchmarks/rust): built where cargo and Debian's librust-* packages are, and called in
this process."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent / "rust"
PACKAGES = (
    "librust-base64-dev",
    "librust-chrono+serde-dev",
    "librust-flate2-dev",
    "librust-serde-derive-dev",
    "librust-serde-json-dev",
    "librust-uuid+serde-dev",
)


@cache
def built() -> Path:
    """Build it once, and return the folder that holds the results. Skips, and says so, where it can't be built."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("no cargo here: behest is not compared with Rust")
    build = subprocess.run(
        [cargo, "build", "--release", "--offline", "--quiet"], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    if build.returncode:
        why = build.stderr.strip().splitlines() or ["?"]
        pytest.skip(f"behest is not compared with Rust: cargo said {why[0]!r}; it needs {' '.join(PACKAGES)}")
    return FOLDER / "target" / "release"


def call(name: str) -> Callable[[bytes], int]:
    """Return a function of the library: it takes bytes, and returns how many events it folded."""
    function = getattr(ctypes.CDLL(str(built() / "libseed.so")), name)
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    function.restype = ctypes.c_int64

    def fold(data: bytes) -> int:
        events: int = function(data, len(data))
        assert events >= 0, f"{name} could not read its bytes"
        return events

    return fold
