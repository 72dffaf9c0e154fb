"""docs/S3.md has one row for each operation there is, and says of each what the table says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from appliance.s3.operations.forwarding import FORWARDED
from appliance.s3.operations.table import NOWAIT, OPERATIONS, UNSIGNED
from appliance.s3.wire.operations import Operation

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "S3.md"


def documented() -> list[tuple[str, str, str]]:
    """(operation or option, state, test) of every row."""
    rows = []
    for line in DOCUMENT.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[1] in {"supported", "forwarded", "not implemented"}:
            rows.append((cells[0], cells[1], cells[3]))
    return rows


def test_every_operation_has_one_row():
    names = Counter(name for name, _, _ in documented() if not name.startswith("`"))
    assert names == Counter(operation.name for operation in Operation)


def test_the_document_lists_exactly_what_is_supported():
    names = {name for name, state, _ in documented() if state == "supported" and name[0] != "`"}
    assert names == {operation.name for operation in OPERATIONS}


def test_the_document_lists_exactly_what_is_forwarded():
    names = {name for name, state, _ in documented() if state == "forwarded" and name[0] != "`"}
    assert names == {operation.name for operation in FORWARDED}


def test_the_tests_that_rows_name_exist():
    for name, _, test in documented():
        words = test.strip("`")
        place = ROOT / words if "/" in words else ROOT / f"tests/s3/operations/{words}.py"
        assert place.exists(), f"{name}: {test}"


def test_what_is_answered_at_once_can_also_be_answered_later():
    assert NOWAIT.keys() <= OPERATIONS.keys()
    assert UNSIGNED <= OPERATIONS.keys() < set(Operation)
