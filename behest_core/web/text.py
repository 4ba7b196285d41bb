"""Text of a run as a page shows it: nothing in it is invisible, and nothing reorders what is read.

Escaping for HTML is the templates' business; this comes before it.
"""

from __future__ import annotations

import re
from typing import Final

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
"""Controls, marks of direction, and what has no width. Joiners stay: scripts and emoji are written with them."""


def visible(text: str) -> str:
    r"""Return a text with what can't be seen written out, as ``\u202e``; line breaks and tabs stay."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
