"""What the documents point at exists, and the pins say versions only."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from appliance.config.load import build

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    missing = [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []


def test_the_configuration_in_the_documents_is_valid():
    [example] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/CONFIG.md").read_text(), re.DOTALL)
    config = build(tomllib.loads(example), "docs/CONFIG.md")
    assert [backend.name for backend in config.backend] == ["scratch", "far"]


def test_pins_are_names_and_versions():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(lines) > 50
    for line in lines:
        assert re.fullmatch(r"[a-z0-9._-]+==[\w.+!-]+( ; .*)?", line), line


def test_the_dev_script_says_what_it_can_do():
    shown = subprocess.run(
        [str(ROOT / "dev"), "help"], capture_output=True, text=True, check=True
    ).stdout
    for command in ("setup", "serve", "test", "lint", "bench"):
        assert f"./dev {command}" in shown
