"""Code stays short enough to read: functions of at most 40 lines, files of at most 500."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FUNCTION_LINES_MAX = 40
FILE_LINES_MAX = 500
FILES = sorted([*(ROOT / "appliance").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])


def long_functions(source: str) -> list[str]:
    """`name: lines` of those above the limit."""
    sizes = [
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [f"{name}: {lines}" for name, lines in sizes if lines > FUNCTION_LINES_MAX]


def test_there_are_files_to_look_at():
    assert len(FILES) > 200


def test_functions_are_short():
    found = {str(path.relative_to(ROOT)): long_functions(path.read_text("utf-8")) for path in FILES}
    assert {path: functions for path, functions in found.items() if functions} == {}


def test_files_are_short():
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in FILES
    }
    assert {path: count for path, count in lines.items() if count > FILE_LINES_MAX} == {}


def test_a_function_of_41_lines_is_found():
    source = "async def long():\n" + "    pass\n" * FUNCTION_LINES_MAX
    assert long_functions(source) == ["long: 41"]
    assert long_functions(source.removesuffix("    pass\n")) == []
