"""What the build adds to the wheel: the templates and the functions.

`behest demo` and the local stack create their tables from template.yaml and run the functions' handlers, so a wheel
carries them, in behest_core/_deploy. An editable install reads them where they are: a copy would grow stale.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DeployedFiles(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling calls it before each build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add, unless the build is for an editable install."""
        if version != "editable":
            build_data["force_include"] |= {
                "template.yaml": "behest_core/_deploy/template.yaml",
                "monitoring.yaml": "behest_core/_deploy/monitoring.yaml",
                "functions": "behest_core/_deploy/functions",
            }
