"""Models that stand in for real ones in docs/recording.md, by the name that its examples use."""

from __future__ import annotations

from typing import Final

MODELS: Final[dict[str, object]] = {}
