"""The hooks of this plugin; the entry point in pyproject.toml names this module. It imports nothing heavy until its scheme is asked for."""

from __future__ import annotations

from urllib.parse import urlsplit

from appliance.model.errors import ConfigError
from appliance.plugin import Backend, BackendConfig, hookimpl


@hookimpl
def appliance_backend(url: str, config: BackendConfig) -> Backend | None:
    """`memory://`, with the option `max_bytes`."""
    parts = urlsplit(url)
    if parts.scheme != "memory":
        return None
    if parts.netloc or parts.path or parts.query:
        raise ConfigError(f"Backend {config.name}: write memory:// with nothing after it.")
    unknown = sorted(config.options.keys() - {"max_bytes"})
    if unknown:
        raise ConfigError(
            f"Backend {config.name}: memory:// has no option {unknown[0]!r}; it has max_bytes."
        )
    max_bytes = config.options.get("max_bytes")
    if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 0):
        raise ConfigError(f"Backend {config.name}: max_bytes is a number of bytes, 0 or more.")
    from appliance_example.backend import MemoryBackend  # noqa: PLC0415  # see above

    return MemoryBackend(config, max_bytes=max_bytes)
