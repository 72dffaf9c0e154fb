"""The hook by which the appliance finds this backend. boto3 is imported only when an `s3://` URL is there to be served."""

from __future__ import annotations

from appliance.plugin import Backend, BackendConfig, hookimpl


@hookimpl
def appliance_backend(url: str, config: BackendConfig) -> Backend | None:
    """The backend for `s3://` URLs. Raises ConfigError."""
    if not url.startswith("s3://"):
        return None
    from appliance_s3.backend import S3Backend  # noqa: PLC0415  # see above
    from appliance_s3.settings import parse  # noqa: PLC0415

    return S3Backend(config.name, parse(url, config.options, config.name), config.host)
