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
from appliance.plugin.caller import CALLER, Caller, acting_as
from appliance.plugin.forwarding import ForwardAnswer, ForwardRequest
from appliance.plugin.governance import BYPASS_GOVERNANCE, bypassing_governance
from appliance.plugin.hookspecs import hookimpl

__all__ = [
    "BYPASS_GOVERNANCE",
    "CALLER",
    "Backend",
    "BackendConfig",
    "Body",
    "BytesBody",
    "Caller",
    "Capabilities",
    "ChecksummedBody",
    "Chunk",
    "Digests",
    "ForwardAnswer",
    "ForwardRequest",
    "Host",
    "LocalFile",
    "ObjectStream",
    "acting_as",
    "bypassing_governance",
    "hookimpl",
]
