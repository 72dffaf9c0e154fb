"""The plugin contract: all that a plugin may import besides `appliance.model`. docs/PLUGINS.md tells how to write one."""

from appliance.plugin.backend import (
    Backend,
    BackendConfig,
    Capabilities,
    Host,
    LocalFile,
    ObjectStream,
)
from appliance.plugin.body import Body, BytesBody, ChecksummedBody, Chunk, Digests
from appliance.plugin.forwarding import ForwardAnswer, ForwardRequest
from appliance.plugin.hookspecs import hookimpl

__all__ = [
    "Backend",
    "BackendConfig",
    "Body",
    "BytesBody",
    "Capabilities",
    "ChecksummedBody",
    "Chunk",
    "Digests",
    "ForwardAnswer",
    "ForwardRequest",
    "Host",
    "LocalFile",
    "ObjectStream",
    "hookimpl",
]
