"""`appliance buckets`: whose the buckets of a running node are, and giving them to others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.assembly import buckets as assembly
from appliance.assembly.buckets import Answer, BucketView, Command, Give, Listed, Refused
from appliance.assembly.buckets import List as ListBuckets
from appliance.cli.options import node_config, node_options, show

_HEADINGS = ("BUCKET", "OWNER", "POLICY", "PUBLIC")


@click.group("buckets")
def buckets_group() -> None:
    """Whose the buckets are. Asks the node that runs on the data directory."""


@buckets_group.command("list")
@node_options
def list_(**node: Any) -> None:
    """All buckets: owner, whether there is a policy, whether somebody unknown may do something there."""
    _run(ListBuckets(), **node)


@buckets_group.command()
@click.argument("bucket")
@click.argument("account")
@node_options
def give(bucket: str, account: str, **node: Any) -> None:
    """Make ACCOUNT (a name or canonical id) the owner of BUCKET. Objects that are not somebody else's become its, too."""
    _run(Give(bucket=bucket, account=account), **node)


def _run(command: Command, *, config_file: Path | None, data: str | None, as_json: bool) -> None:
    config = node_config(config_file, data)
    answer = assembly.ask(Path(config.node.data), command)
    if isinstance(answer, Refused):
        raise click.ClickException(answer.reason)
    show(answer, _text(answer), as_json=as_json)


def _text(answer: Answer) -> str:
    if not isinstance(answer, Listed):
        return f"{answer.reason if isinstance(answer, Refused) else answer.sentence}\n"
    lines = [_HEADINGS, *(_row(bucket) for bucket in answer.buckets)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def _row(bucket: BucketView) -> tuple[str, ...]:
    return (
        bucket.name,
        bucket.owner_name or f"{bucket.owner} (gone)",
        "yes" if bucket.policy else "-",
        "yes" if bucket.public else "-",
    )
