"""`appliance accounts`: who may use a node, whether it runs or not.

A node that runs is told through its control socket and knows at once; of one that is stopped the journal is opened for a moment. Secrets
never are arguments, which anybody on the machine can read: one that is given comes from standard input or the environment, one that is made
is printed once.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from appliance.assembly import accounts as assembly
from appliance.auth.accounts.commands import (
    Add,
    Answer,
    Command,
    Done,
    Issued,
    List,
    Listed,
    Modify,
    Pair,
    Refused,
    Remove,
    Rotate,
    Switch,
)
from appliance.auth.identity import Role
from appliance.cli.accounts_view import accounts_table
from appliance.cli.options import node_config, node_options, show

F = TypeVar("F", bound=Callable[..., Any])

NEW_SECRET_VARIABLE = "APPLIANCE_NEW_SECRET_KEY"  # noqa: S105  # a name, not a secret
_SECRET_BYTES_MAX = 4096


@click.group("accounts")
def accounts_group() -> None:
    """Accounts, their roles and access keys. Works while the node runs, which learns of it at once, and while it is stopped."""


def _new_key_options(function: F) -> F:
    access_key = _new_access_key("--new-access-key")
    return access_key(_secret_option(function))


def _first_key_options(function: F) -> F:
    # The account has no other key that could be meant.
    access_key = _new_access_key("--access-key", "--new-access-key")
    return access_key(_secret_option(function))


def _new_access_key(*names: str) -> Callable[[F], F]:
    return click.option(
        *names, "new_access_key", default="", metavar="KEY", help="Instead of a random one."
    )


def _secret_option(function: F) -> F:
    return click.option(
        "--secret-stdin",
        is_flag=True,
        help=f"Read the new secret key from standard input (or set {NEW_SECRET_VARIABLE}); else a random one.",
    )(function)


def _user_options(function: F) -> F:
    user = click.option(
        "--user", default="", metavar="LOGIN", help="Touch files as this user of the system."
    )
    uid = click.option("--uid", type=int, help="Touch files as this user id; needs --gid.")
    gids = click.option(
        "--gid", "gids", type=int, multiple=True, help="Primary group first; repeat for more."
    )
    return user(uid(gids(function)))


_key_option = click.option(
    "--access-key", default="", metavar="KEY", help="Only this key of the account."
)


@accounts_group.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default=Role.USER.value)
@click.option("--email", default="", help="Grants may name the account by it.")
@click.option("--id", "account_id", default="", metavar="HEX", help="Canonical id of 64 digits.")
@_user_options
@_first_key_options
@node_options
def add(
    name: str,
    role: str,
    email: str,
    account_id: str,
    user: str,
    uid: int | None,
    gids: tuple[int, ...],
    new_access_key: str,
    secret_stdin: bool,
    **node: Any,
) -> None:
    """Make an account with one access key, and show its secret this once."""
    uid, gids = _user(user, uid, gids)
    command = Add(
        name=name,
        role=Role(role),
        email=email,
        account_id=account_id,
        uid=uid,
        gids=gids,
        pair=_pair(new_access_key, secret_stdin),
    )
    _run(command, **node)


@accounts_group.command("list")
@click.argument("name", default="")
@node_options
def list_command(name: str, **node: Any) -> None:
    """Show all accounts, or NAME: keys, states, times of last use; no secrets."""
    _run(List(name=name), **node)


@accounts_group.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]))
@click.option("--email", help='"" takes it away.')
@_user_options
@click.option("--no-user", is_flag=True, help="Touch files as the appliance itself.")
@node_options
def modify(
    name: str,
    role: str | None,
    email: str | None,
    user: str,
    uid: int | None,
    gids: tuple[int, ...],
    no_user: bool,
    **node: Any,
) -> None:
    """Change an account's role, e-mail address or user of the system; its keys stay."""
    uid, gids = _user(user, uid, gids)
    if uid is not None and no_user:
        raise click.UsageError("Give a user or --no-user.")
    if uid is None and gids:
        raise click.UsageError("--gid needs --uid.")
    numbers = None if uid is None else (uid, *gids)
    command = Modify(
        name=name,
        role=None if role is None else Role(role),
        email=email,
        user=() if no_user else numbers,
    )
    _run(command, **node)


@accounts_group.command()
@click.argument("name")
@_key_option
@node_options
def disable(name: str, access_key: str, **node: Any) -> None:
    """Stop an account's keys, or one key, from working, at once."""
    _run(Switch(name=name, access_key=access_key, disabled=True), **node)


@accounts_group.command()
@click.argument("name")
@_key_option
@node_options
def enable(name: str, access_key: str, **node: Any) -> None:
    """Take `disable` back."""
    _run(Switch(name=name, access_key=access_key, disabled=False), **node)


@accounts_group.command()
@click.argument("name")
@_key_option
@click.option("--keep", is_flag=True, help="Let the former keys go on working: add one.")
@_new_key_options
@node_options
def rotate(
    name: str, access_key: str, keep: bool, new_access_key: str, secret_stdin: bool, **node: Any
) -> None:
    """Give an account a new key, which replaces all its keys (or the one named, or with --keep none), and show its secret this once."""
    if keep and access_key:
        raise click.UsageError("Give --keep or --access-key, not both.")
    pair = _pair(new_access_key, secret_stdin)
    _run(Rotate(name=name, access_key=access_key, keep=keep, pair=pair), **node)


@accounts_group.command()
@click.argument("name")
@_key_option
@node_options
def remove(name: str, access_key: str, **node: Any) -> None:
    """Remove an account with all its keys, or one key. What the account owns stays, and is an admin's to give away."""
    _run(Remove(name=name, access_key=access_key), **node)


# --- asking, and showing what was answered -------------------------------------------------------


def _run(command: Command, *, config_file: Path | None, data: str | None, as_json: bool) -> None:
    config = node_config(config_file, data)
    answer = assembly.ask_running(Path(config.node.data), command)
    if answer is None:
        answer = trio.run(assembly.perform_offline, config, command)
    if isinstance(answer, Refused):
        raise click.ClickException(answer.reason)
    show(answer, _text(answer), as_json=as_json)


def _text(answer: Answer) -> str:
    match answer:
        case Listed():
            return accounts_table(answer)
        case Issued():
            lines = [
                f"Account     {answer.name}  ({answer.account_id})",
                f"Access key  {answer.access_key}",
                f"Secret key  {answer.secret_key}   (shown once)",
                *(f"Removed     {access_key}" for access_key in answer.retired),
            ]
            return "".join(f"{line}\n" for line in lines)
        case Done() | Refused():
            return f"{answer.sentence if isinstance(answer, Done) else answer.reason}\n"


def _pair(access_key: str, secret_stdin: bool) -> Pair:
    secret = os.environ.get(NEW_SECRET_VARIABLE, "")
    if secret_stdin:
        if secret:
            raise click.UsageError(f"Give --secret-stdin or {NEW_SECRET_VARIABLE}, not both.")
        secret = sys.stdin.readline(_SECRET_BYTES_MAX).rstrip("\r\n")
        if not secret:
            raise click.UsageError("There is no secret key on standard input.")
    return Pair(access_key=access_key, secret_key=secret)


def _user(login: str, uid: int | None, gids: tuple[int, ...]) -> tuple[int | None, tuple[int, ...]]:
    if not login:
        return uid, gids
    if uid is not None or gids:
        raise click.UsageError("Give --user, or --uid and --gid.")
    return _system_user(login)


def _system_user(login: str) -> tuple[int, tuple[int, ...]]:
    """User id and groups, the primary one first, as this system knows them now."""
    try:
        entry = pwd.getpwnam(login)
    except KeyError:
        raise click.UsageError(f"This system knows no user {login!r}.") from None
    groups = os.getgrouplist(login, entry.pw_gid)
    return entry.pw_uid, (entry.pw_gid, *(gid for gid in groups if gid != entry.pw_gid))
