"""docs/PLUGINS.md is true: what it quotes is in the sources, what is in the example is quoted, and the names that it uses exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import msgspec
import pytest

from appliance.plugin import Capabilities, hookspecs
from appliance.plugin.check import CHECKS, Allowances

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/PLUGINS.md").read_text()
QUOTES = re.findall(r"<!-- (\S+) -->\n```\w+\n(.*?)\n```", PAGE, re.DOTALL)
EXAMPLE = sorted((ROOT / "plugins/example/appliance_example").glob("*.py"))


def stripped(text: str) -> str:
    """Lines without their indentation, for a method is quoted without its class's."""
    return "\n".join(line.strip() for line in text.splitlines()) + "\n"


@pytest.mark.parametrize(("path", "quote"), QUOTES, ids=[f"{p.split('/')[-1]}:{q[:30]!r}" for p, q in QUOTES])  # fmt: skip
def test_each_quotation_is_in_its_source(path: str, quote: str) -> None:
    assert stripped(quote) in stripped((ROOT / path).read_text())


def test_every_python_quotation_names_its_source() -> None:
    assert PAGE.count("```python\n") == sum(path.endswith(".py") for path, _ in QUOTES) > 40


@pytest.mark.parametrize("source", EXAMPLE, ids=[path.name for path in EXAMPLE])
def test_every_line_of_the_example_is_quoted(source: Path) -> None:
    """All but imports, the module's own docstring, and comments that head a section."""
    path = str(source.relative_to(ROOT))
    quoted = {
        line for where, quote in QUOTES if where == path for line in stripped(quote).split("\n")
    }
    text = source.read_text()
    passed_over = set()
    for node in ast.parse(text).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or isinstance(node, ast.Import | ast.ImportFrom):
            passed_over |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    missing = [
        line
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
        and number not in passed_over
        and line.strip() not in quoted
        and not line.strip().startswith("# ---")
    ]
    assert missing == []


def test_every_hook_capability_and_allowance_is_on_the_page() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("appliance_")]
    assert len(hooks) == 5
    for name in hooks:
        assert f"`{name}(" in PAGE
    for field in msgspec.structs.fields(Capabilities):
        assert f"| `{field.name}` |" in PAGE
    for name in ("gaps", "unstorable", "timeout_s"):
        assert name in {field.name for field in msgspec.structs.fields(Allowances)}
        assert name in PAGE


def test_checks_that_the_page_names_exist() -> None:
    areas = {name.split(".")[0] for name, _ in CHECKS}
    prose = re.sub(r"```python\n.*?\n```", "", PAGE, flags=re.DOTALL)
    named = re.findall(r"\b(\w+\.\w+)\b", prose)
    checks = {name for name in named if name.split(".")[0] in areas and not name.endswith(".py")}
    assert {"listing.matches_a_sorted_model", "uploads.after_a_key_marker"} <= checks
    assert checks <= {name for name, _ in CHECKS}
