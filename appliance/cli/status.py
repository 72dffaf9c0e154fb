"""`appliance status`: what a running node says of itself, as a table."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from appliance.cli.options import config_option, load_config, override

_SAMPLE_S = 1.0


@click.command()
@config_option
@click.option("--admin", metavar="HOST:PORT", help="The node's admin listener.")
@click.option("--json", "as_json", is_flag=True, help="All numbers, as JSON.")
def status(config_file: Path | None, admin: str | None, as_json: bool) -> None:
    """Show capacity, hit ratio, throughput and backends of a running node."""
    overrides: dict[str, Any] = {}
    override(overrides, "admin.listen", admin)
    address = load_config(config_file, overrides).admin.listen
    first = fetch(address.host, address.port)
    if as_json:
        click.echo(json.dumps(first, indent=2))
        return
    time.sleep(_SAMPLE_S)
    Console(soft_wrap=True).print(render(first, fetch(address.host, address.port)))


def fetch(host: str, port: int) -> dict[str, Any]:
    """The /status page. Raises ClickException with a sentence."""
    connection = http.client.HTTPConnection(host or "127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        content = response.read()
    except OSError as error:
        raise click.ClickException(
            f"No node answers at {host}:{port} ({error.strerror or error}). Is it running? --admin HOST:PORT names another."
        ) from None
    finally:
        connection.close()
    if response.status != 200:
        raise click.ClickException(
            f"{host}:{port} answered {response.status}: {content.decode(errors='replace')}"
        )
    document: dict[str, Any] = json.loads(content)
    return document


def render(before: Mapping[str, Any], now: Mapping[str, Any]) -> Table:
    """Pure: two samples of /status as a table; rates are between them."""
    table = Table(title=f"{now['node']}: {now['state']}", show_header=False, title_justify="left")
    for label, value in rows(before, now):
        table.add_row(label, value)
    return table


def rows(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, value) of each line."""
    cache, s3 = now["parts"]["cache"], now["parts"]["s3"]
    seconds: float = max(now["boot_s"] - before["boot_s"], 1e-6)
    hits, misses = float(cache.get("hits_total", 0)), float(cache.get("misses_total", 0))
    asked = hits + misses

    def rate(part: str, name: str) -> float:
        change = float(now["parts"][part].get(name, 0)) - float(before["parts"][part].get(name, 0))
        return change / seconds

    lines: list[tuple[str, str]] = [
        (
            "Cache",
            f"{size(cache.get('used_bytes', 0))} of {size(cache.get('capacity_bytes', 0))}, {cache.get('objects', 0):,.0f} objects",
        ),
        (
            "Hit ratio",
            f"{hits / asked:.1%} of {asked:,.0f} reads since start" if asked else "no reads yet",
        ),
        (
            "S3",
            f"{rate('s3', 'requests_total'):,.1f} requests/s, {s3.get('connections_open', 0):,.0f} connections",
        ),
        (
            "Throughput",
            f"{size(rate('s3', 'sent_bytes_total'))}/s out, {size(rate('s3', 'received_bytes_total'))}/s in (last {seconds:.1f} s)",
        ),
    ]
    for backend in now["backends"]:
        reason = now["probes"].get(backend["name"], "")
        lines.append((f"Backend {backend['name']}", f"{backend['url']}  {reason or 'answers'}"))
    if now.get("mount"):
        lines.append(("Mount", now["mount"]))
    return lines


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(number) < 1024 or unit == "TiB":
            return f"{number:,.0f} B" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1024
    raise AssertionError("unreachable")
