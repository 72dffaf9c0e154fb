"""The conformance kit, check by check, on every filesystem and in every degraded mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.plugin.check import CHECKS, Allowances, Check, run_check
from tests.support.posix import started


@pytest.mark.real
@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
async def test_conforms(name: str, check: Check, new_root: Path) -> None:
    async with started(new_root) as backend:
        # Keys a thousand directories deep take CephFS a while: each directory is a round trip or two.
        await run_check(backend, name, check, allow=Allowances(timeout_s=300))


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
async def test_conforms_with_sidecars(name: str, check: Check, root: Path) -> None:
    async with started(root, metadata="sidecar") as backend:
        await run_check(backend, name, check)


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
async def test_conforms_without_openat2(name: str, check: Check, root: Path) -> None:
    async with started(root, openat2="never") as backend:
        await run_check(backend, name, check)
