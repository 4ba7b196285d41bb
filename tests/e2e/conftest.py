"""One emulator and one deployed stack for all end-to-end tests. `make e2e` makes what they need before it calls pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import third_party
from tests.e2e.emulator import EMULATOR, SAM, build, deploy, running_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.emulator import Stack


@pytest.fixture(scope="session")
def deployed_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return the template, built with a plugin and deployed onto an emulator that runs until the last test is over."""
    missing = [str(file) for file in (SAM, EMULATOR / "ministack") if not file.exists()]
    if missing:
        pytest.fail(f"not there: {', '.join(missing)}; run `make e2e`, which makes what these tests need")
    folder = tmp_path_factory.mktemp("emulator")
    template = build(tmp_path_factory.mktemp("build"), third_party.publish(tmp_path_factory.mktemp("plugin")))
    with running_emulator(folder) as endpoint:
        yield deploy(template, endpoint, folder, plugins=third_party.NAME)
