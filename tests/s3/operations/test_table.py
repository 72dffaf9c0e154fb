"""docs/S3.md lists exactly the operations there are."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.s3.operations.table import NOWAIT, OPERATIONS
from appliance.s3.wire.operations import Operation

DOCUMENT = Path(__file__).parents[3] / "docs" / "S3.md"


def test_the_document_lists_exactly_what_is_supported():
    names: set[str] = set()
    for line in DOCUMENT.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[1] == "supported":
            names.update(re.sub(r" \(v1\)", "", name) for name in cells[0].split(", "))
    assert names == {operation.name for operation in OPERATIONS}


def test_what_is_answered_at_once_can_also_be_answered_later():
    assert NOWAIT.keys() <= OPERATIONS.keys()
    assert OPERATIONS.keys() < set(Operation)
