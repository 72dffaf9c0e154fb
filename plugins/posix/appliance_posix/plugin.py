"""Registers `posix://PATH`."""

from __future__ import annotations

from appliance.plugin import Backend, BackendConfig, hookimpl
from appliance_posix import config as options
from appliance_posix.backend import PosixBackend


@hookimpl
def appliance_backend(url: str, config: BackendConfig) -> Backend | None:
    """See `appliance.plugin.hookspecs`."""
    if url.partition(":")[0] != "posix":
        return None
    return PosixBackend(config, options.parse(url, config.name, config.options))
