"""A generated secret is shown once: at the first start that gets as far as showing it."""

from __future__ import annotations

import os

import pytest
import trio

from appliance import assembly
from appliance.auth.credentials import FILE_NAME
from appliance.config import load
from appliance.model.errors import ConfigError


def config(tmp_path, root):
    overrides = {
        "backend": [{"url": f"posix://{root}"}],
        "node": {"data": str(tmp_path / "data")},
        "s3": {"listen": "127.0.0.1:0"},
        "admin": {"listen": "127.0.0.1:0"},
    }
    return load(None, overrides)


async def test_a_start_that_fails_keeps_no_secret_that_nobody_saw(tmp_path, monkeypatch):
    for name in ("APPLIANCE_ACCESS_KEY", "APPLIANCE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError):
        await assembly.run(config(tmp_path, tmp_path / "missing"), pytest.fail)
    assert FILE_NAME not in os.listdir(tmp_path / "data")
    os.mkdir(tmp_path / "there")
    shown = []
    async with trio.open_nursery() as nursery:

        def show(started):
            shown.append(started.generated_secret)
            nursery.cancel_scope.cancel()

        nursery.start_soon(assembly.run, config(tmp_path, tmp_path / "there"), show)
    assert len(shown[0]) == 40
    assert FILE_NAME in os.listdir(tmp_path / "data")
