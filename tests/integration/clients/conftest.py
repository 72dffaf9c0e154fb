"""One node for all clients: each uses a bucket of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.node import Node


@pytest.fixture(scope="session")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node over an empty POSIX directory."""
    directory = tmp_path_factory.mktemp("clients")
    (directory / "buckets").mkdir()
    with contextlib.closing(Node(directory / "near", f"posix://{directory}/buckets")) as node:
        yield node
