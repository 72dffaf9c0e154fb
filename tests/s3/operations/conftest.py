"""A fresh endpoint for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.s3_endpoint import running_endpoint


@pytest.fixture
async def node(tmp_path: Path):
    async with running_endpoint(tmp_path) as running:
        yield running
