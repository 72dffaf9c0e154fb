"""SIGHUP: the endpoint's certificate and key are read anew. What cannot be used changes nothing; open connections keep what they have."""

from __future__ import annotations

import logging
import signal

import trio

from appliance.assembly import wiring
from appliance.config import Config
from appliance.model.errors import ConfigError
from appliance.s3.endpoint import S3Endpoint
from appliance.world import Lane, World

logger = logging.getLogger("appliance.node")


async def reload_on_hangup(
    config: Config,
    endpoint: S3Endpoint,
    world: World,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """For ever. Without it, or before it, SIGHUP ends the process."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            await _reload(config, endpoint, world)


async def _reload(config: Config, endpoint: S3Endpoint, world: World) -> None:
    try:
        context = await world.run_blocking(Lane.DISK, wiring.tls_context, config)
    except ConfigError as error:
        logger.error("SIGHUP: the certificate in use stays: %s", error)  # noqa: TRY400  # a sentence, no bug
        return
    if context is None:
        logger.info("SIGHUP: there is nothing to read anew, as no certificate is configured")
        return
    endpoint.replace_tls(context)
    logger.info("SIGHUP: new connections get the certificate in %s", config.s3.tls_certificate)
