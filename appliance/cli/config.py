"""`appliance config`: look at a configuration without starting anything."""

from __future__ import annotations

from pathlib import Path

import click

from appliance import assembly
from appliance.cli.options import config_option, load_config, named
from appliance.config.show import show


@click.group("config")
def config_group() -> None:
    """Check or show the configuration."""


@config_group.command()
@config_option
def check(config_file: Path | None) -> None:
    """Read the configuration and say whether it is right; exit status 2 if not."""
    config = load_config(config_file, {})
    with named(config_file):
        assembly.check(config)
    click.echo(f"The configuration is valid: {len(config.backend)} backend(s).")


@config_group.command("show")
@config_option
def show_command(config_file: Path | None) -> None:
    """Print the effective configuration as TOML, defaults included, secrets hidden."""
    click.echo(show(load_config(config_file, {})), nl=False)
