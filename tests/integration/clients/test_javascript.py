"""@aws-sdk/client-s3, AWS's SDK for JavaScript, on Node.js. What it checks stands in javascript/round_trip.mjs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clients import BIN, run

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).parent / "javascript" / "round_trip.mjs"


def test_the_javascript_sdk_makes_its_round_trip(near, tmp_path):
    said = run(str(BIN / "node"), str(SCRIPT), near.endpoint, "javascript-sdk", cwd=tmp_path)
    assert said.splitlines() == [
        "uploaded",
        "listed",
        "read",
        "copied",
        "presigned",
        "refused",
        "deleted",
    ]
