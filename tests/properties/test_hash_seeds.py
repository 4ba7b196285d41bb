"""Nothing that is stored depends on the order in which a process happens to hash."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.golden import ROOT


def stored_by_a_process(hash_seed):
    done = subprocess.run(
        [sys.executable, "-m", "tests.properties.hash_seeds"],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_two_processes_with_different_hash_seeds_write_equal_bytes():
    one, other = stored_by_a_process("1"), stored_by_a_process("4711")
    assert len(one) == 64
    assert one == other
