"""Names of statistics, as dashboards are built on them: counters end in _total, and whatever does not is a known gauge."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from appliance.journal.journal import Journal
from appliance.mount.mount import Mount
from appliance.mount.settings import MountSettings
from appliance.plugin.registry import Plugins
from appliance.status.metrics import GAUGES
from appliance.world import RealWorld
from tests.support import posix
from tests.support.s3_backends import make_backend
from tests.support.s3_endpoint import running_endpoint

NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


def check(statistics: dict[str, float]) -> None:
    """Every name is one that metrics may have, and of a known kind."""
    assert statistics
    assert [name for name in statistics if not NAME.match(name)] == []
    unknown = {name for name in statistics if not name.endswith("_total")} - GAUGES
    assert unknown == set(), (
        "a counter ends in _total; a gauge is listed in appliance.status.metrics"
    )


async def test_names_of_the_endpoint_the_cache_and_the_mount(tmp_path: Path) -> None:
    async with running_endpoint(tmp_path) as node:
        check(node.endpoint.statistics())
        check(node.cache.statistics())
        check(node.backend.statistics())
        check(
            Mount(
                node.cache, RealWorld(), MountSettings(path=tmp_path, staging=tmp_path)
            ).statistics()
        )


async def test_names_of_the_backends(tmp_path: Path) -> None:
    async with posix.started(tmp_path) as backend:
        check(backend.statistics())
    upstream = make_backend("http://127.0.0.1:1", "KEY", "secret")
    check(upstream.statistics())


def test_names_of_the_journal_and_of_plugins(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "appliance.db", RealWorld())
    check(journal.statistics())
    journal.close()
    plugins = Plugins(logging.getLogger("test"))
    check(plugins.statistics())


def test_a_name_is_of_one_kind() -> None:
    assert [name for name in GAUGES if name.endswith("_total")] == []
