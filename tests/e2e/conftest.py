"""One emulator and one deployed stack for all end-to-end tests. `make e2e` makes what they need before it calls pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import third_party
from tests.e2e.emulator import EMULATOR, SAM, build, deploy, running_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.emulator import Stack


@pytest.fixture(scope="session")
def deployed_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the template, built with a plugin, as it is deployed."""
    missing = [str(file) for file in (SAM, EMULATOR / "ministack") if not file.exists()]
    if missing:
        pytest.fail(f"not there: {', '.join(missing)}; run `make e2e`, which makes what these tests need")
    return build(tmp_path_factory.mktemp("build"), third_party.publish(tmp_path_factory.mktemp("plugin")))


@pytest.fixture(scope="session")
def deployed_stack(deployed_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return the template's stack on an emulator that runs until the last test is over."""
    folder = tmp_path_factory.mktemp("emulator")
    with running_emulator(folder) as endpoint:
        yield deploy(deployed_template, endpoint, folder, plugins=third_party.NAME)
