"""`appliance journal`: read the journal of a node, running or not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance.cli.options import absolute, config_option, load_config, override
from appliance.journal import inspect
from appliance.model.events import Event

F = TypeVar("F", bound=Callable[..., Any])

_POLL_S = 0.25


@click.group("journal")
def journal_group() -> None:
    """Look into the journal and index of a node."""


def _journal_options(function: F) -> F:
    data = click.option("--data", metavar="DIR", help="The node's data directory.")
    return config_option(data(function))


def _path(config_file: Path | None, data: str | None) -> Path:
    overrides: dict[str, Any] = {}
    override(overrides, "node.data", absolute(data))
    return Path(load_config(config_file, overrides).node.data) / "appliance.db"


@journal_group.command()
@_journal_options
@click.option("-n", "count", default=20, show_default=True, help="Events to begin with.")
@click.option("-f", "--follow", is_flag=True, help="Go on with each new event.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def tail(
    config_file: Path | None, data: str | None, count: int, follow: bool, as_json: bool
) -> None:
    """Print the newest events."""
    path = _path(config_file, data)
    events: Iterable[Event] = (
        inspect.follow(path, count, lambda: time.sleep(_POLL_S))
        if follow
        else inspect.newest(path, count)
    )
    line = inspect.as_json if as_json else inspect.as_text
    with contextlib.suppress(KeyboardInterrupt):
        for event in events:
            click.echo(line(event))


@journal_group.command()
@_journal_options
@click.argument("bucket", required=False)
@click.argument("key", required=False)
def show(config_file: Path | None, data: str | None, bucket: str | None, key: str | None) -> None:
    """Print what the journal holds, or with BUCKET and KEY every event of that object that is still there."""
    path = _path(config_file, data)
    if bucket is None:
        for name, value in inspect.summary(path).items():
            click.echo(f"{name:<18}{value}")
        return
    if key is None:
        raise click.UsageError("Give BUCKET and KEY, or neither.")
    for event in inspect.history(path, bucket, key):
        click.echo(inspect.as_text(event))


@journal_group.command()
@_journal_options
@click.option("--quick", is_flag=True, help="Leave out the folding of all events.")
@click.pass_context
def verify(context: click.Context, config_file: Path | None, data: str | None, quick: bool) -> None:
    """Check that events and tables agree; exit status 1 if they do not."""
    problems = inspect.verify_file(_path(config_file, data), thorough=not quick)
    for problem in problems:
        click.echo(problem, err=True)
    if not problems:
        click.echo("The journal is in order.")
    context.exit(1 if problems else 0)
