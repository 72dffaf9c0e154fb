"""Options that several commands share, and how they become overrides of the configuration."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from appliance.config import Config, load
from appliance.model.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_FILE = Path("/etc/appliance/appliance.toml")


def config_option(function: F) -> F:
    """`--config FILE`, from the environment too."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="APPLIANCE_CONFIG",
        help=f"TOML file; {DEFAULT_FILE} where it exists.",
    )(function)


def node_options(function: F) -> F:
    """Of commands to a node: which one, and how the answer is shown."""
    data = click.option("--data", metavar="DIR", help="The node's data directory.")
    as_json = click.option("--json", "as_json", is_flag=True, help="The answer as JSON.")
    return config_option(data(as_json(function)))


def node_config(config_file: Path | None, data: str | None) -> Config:
    """The configuration of the node that `node_options` name."""
    overrides: dict[str, Any] = {}
    override(overrides, "node.data", absolute(data))
    return load_config(config_file, overrides)


def show(answer: msgspec.Struct, text: str, *, as_json: bool) -> None:
    """What a node answered, in words or as JSON."""
    shown = msgspec.json.format(msgspec.json.encode(answer)).decode() + "\n" if as_json else text
    click.echo(shown, nl=False)


def override(tables: dict[str, Any], key: str, value: object) -> None:
    """Set dotted `key` in nested `tables` unless `value` is None: the option was not given."""
    if value is None:
        return
    *sections, name = key.split(".")
    for section in sections:
        tables = tables.setdefault(section, {})
    tables[name] = value


def load_config(config_file: Path | None, overrides: dict[str, Any]) -> Config:
    """The file that was named, or the default one where it exists, under the overrides."""
    if config_file is None and DEFAULT_FILE.exists():
        config_file = DEFAULT_FILE
    return load(config_file, overrides)


@contextlib.contextmanager
def named(config_file: Path | None) -> Iterator[None]:
    """Put the file's name before what is found wrong with its values later than on reading it."""
    try:
        yield
    except ConfigError as error:
        source = config_file or (DEFAULT_FILE if DEFAULT_FILE.exists() else "command line")
        raise ConfigError(f"{source}: {error}") from None


def absolute(path: str | None) -> str | None:
    """Paths on the command line are relative to where it is typed."""
    return os.path.abspath(path) if path else None
