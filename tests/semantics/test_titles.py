"""Every promise of docs/SEMANTICS.md is the title of a test here, and every test here is a promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "SEMANTICS.md"


def name_of(sentence: str) -> str:
    words = re.findall(r"[a-z0-9]+", sentence.lower().replace("'", "").replace("-", " "))
    return "test_" + "_".join(words)


def test_promises_and_tests_are_the_same_list():
    promised = {
        name_of(line[2:]) for line in PAGE.read_text().splitlines() if line.startswith("- ")
    }
    tested = {
        node.name
        for file in HERE.glob("test_*.py")
        if file != Path(__file__)
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert len(promised) > 20
    assert promised == tested
