"""Throwaway distributions: a module and its metadata in a directory on sys.path, found by importlib.metadata as an installed one is."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_distribution(root: Path, name: str, source: str, *, entry_point: str = "") -> None:
    """Distribution `tests-NAME` 1.0 whose entry point `name` is the module `tests_NAME` with this source."""
    module = f"tests_{name}"
    (root / f"{module}.py").write_text(textwrap.dedent(source))
    metadata = root / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tests-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[appliance]\n{name} = {entry_point or module}\n")


@contextmanager
def on_path(root: Path) -> Iterator[None]:
    """`root` on sys.path; what was imported from it is forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        for name in set(sys.modules) - before:
            if name.startswith("tests_"):
                del sys.modules[name]
