"""In which order ListObjectVersions told versions and delete markers: boto3 sorts them into two lists, and forgets."""

from __future__ import annotations

import re
from typing import Any

ORDER = "_Order"
# In the answer's XML text is escaped, so a "<" begins an element.
_ELEMENT = re.compile(rb"<(?:\w+:)?(Version|DeleteMarker)[\s>]")


def keep_order(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
    """After a call: put the order beside the two lists, as a string of "V" and "D"."""
    found = _ELEMENT.findall(http_response.content or b"")
    parsed[ORDER] = "".join("V" if name == b"Version" else "D" for name in found)
