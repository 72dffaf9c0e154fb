"""`appliance`: the command line. One file a command; errors of the product are printed as their sentence, without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from appliance import __version__
from appliance.cli.accounts import accounts_group
from appliance.cli.buckets import buckets_group
from appliance.cli.config import config_group
from appliance.cli.journal import journal_group
from appliance.cli.serve import serve
from appliance.cli.status import status
from appliance.model.errors import ApplianceError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="appliance")
def group() -> None:
    """A coherent near cache for S3 buckets and filesystems, served as an S3 endpoint and as a mount."""


group.add_command(serve)
group.add_command(status)
group.add_command(accounts_group)
group.add_command(buckets_group)
group.add_command(config_group)
group.add_command(journal_group)


def main() -> None:
    """Entry point. Exit status: 0 well, 1 a problem found or a failure, 2 wrong use or configuration."""
    failed = False
    try:
        group()
    except* ApplianceError as errors:  # tasks raise in groups
        failed = True
        for error in _leaves(errors):
            click.echo(f"appliance: {error}", err=True)
    if failed:
        sys.exit(2)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
