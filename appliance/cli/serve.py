"""`appliance serve`: run a node in the foreground until SIGTERM or SIGINT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import trio
from rich.console import Console
from rich.markup import escape

from appliance import assembly
from appliance.cli.options import absolute, config_option, load_config, named, override
from appliance.config import Config
from appliance.world import collector, logs


@click.command()
@click.argument("backend_url", required=False)
@config_option
@click.option("--data", metavar="DIR", help="Cache, journal and generated credentials.")
@click.option("--listen", metavar="HOST:PORT", help="The S3 endpoint's address.")
@click.option(
    "--admin", metavar="HOST:PORT", help="The admin listener's address: metrics, health, status."
)
@click.option("--mount", metavar="DIR", help="Mount the buckets here, an empty directory.")
@click.option(
    "--mount-bucket", metavar="BUCKET", help="Mount only this bucket, at the mount's root."
)
@click.option("--capacity", metavar="SIZE", help='Disk space for the cache, as "500GiB".')
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def serve(
    backend_url: str | None,
    config_file: Path | None,
    data: str | None,
    listen: str | None,
    admin: str | None,
    mount: str | None,
    mount_bucket: str | None,
    capacity: str | None,
    log_level: str | None,
) -> None:
    """Run a node in front of BACKEND_URL, or of the backends of the configuration file.

    \b
    posix:///srv/data                                      buckets are directories, keys are paths below them
    s3://?endpoint_url=http://host:port&region=us-east-1   every bucket of that account
    s3://bucket/prefix?...                                 one bucket, optionally below a prefix

    Root credentials come from APPLIANCE_ACCESS_KEY and APPLIANCE_SECRET_KEY, or from the configuration file; without either a pair is
    generated on first start and shown once.
    """
    overrides: dict[str, Any] = {}
    override(overrides, "backend", [{"url": backend_url}] if backend_url else None)
    override(overrides, "node.data", absolute(data))
    override(overrides, "s3.listen", listen)
    override(overrides, "admin.listen", admin)
    override(overrides, "mount.path", absolute(mount))
    override(overrides, "mount.bucket", mount_bucket)
    override(overrides, "cache.capacity", capacity)
    override(overrides, "log.level", log_level)
    config = load_config(config_file, overrides)
    if not config.backend:
        raise click.UsageError(
            "There is no backend: give BACKEND_URL, or [[backend]] in the configuration file."
        )
    _run(config, config_file)


def _run(config: Config, config_file: Path | None) -> None:
    as_json = config.log.format == "json" or (
        config.log.format == "auto" and not sys.stderr.isatty()
    )
    logs.setup(config.log.level, as_json=as_json)
    with named(config_file):
        assembly.check(config)

    def ready(started: assembly.Started) -> None:
        collector.settle()
        announce(config, started)

    trio.run(assembly.run, config, ready)


def announce(config: Config, started: assembly.Started) -> None:
    """Say what was started, and what to try; a generated secret is shown here, this once, and nowhere else."""
    console = Console(stderr=False, highlight=False, soft_wrap=True)
    row = "[bold]{:<10}[/bold] {}".format
    for entry in config.backend:
        console.print(row("Backend", escape(entry.url)))
    console.print(row("S3", started.endpoint))
    console.print(row("Access key", escape(started.access_key)))
    if started.generated_secret:
        console.print(
            row("Secret key", escape(started.generated_secret))
            + "   (shown once; kept in the data directory)"
        )
    if config.mount.path:
        console.print(row("Mount", escape(config.mount.path)))
    console.print(row("Admin", f"{started.admin}  (/metrics, /healthz, /readyz)"))
    console.print(
        row("Try", f"aws --endpoint-url {started.endpoint} s3 ls")
        + "   (with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY set to the keys above)"
    )
    sys.stdout.flush()
