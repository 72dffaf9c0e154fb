"""Accounts as a table for a terminal. Pure."""

from __future__ import annotations

import datetime as dt

from appliance.auth.accounts.commands import AccountView, KeyView, Listed

_HEADINGS = ("ACCOUNT", "ROLE", "STATE", "ACCESS KEY", "KEY STATE", "LAST USED (UTC)", "USER", "ID")


def accounts_table(listed: Listed) -> str:
    """One line a key; an account without keys has a line too."""
    lines: list[tuple[str, ...]] = [_HEADINGS]
    for account in listed.accounts:
        keys: tuple[KeyView | None, ...] = account.keys or (None,)
        lines += [_row(account, key) for key in keys]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def _row(account: AccountView, key: KeyView | None) -> tuple[str, ...]:
    return (
        account.name,
        "root" if account.root else account.role.value,
        _state(account.disabled),
        key.access_key if key else "-",
        _state(key.disabled) if key else "-",
        _moment(key.used_ns) if key else "-",
        _user(account),
        account.account_id,
    )


def _state(disabled: bool) -> str:
    return "disabled" if disabled else "enabled"


def _moment(at_ns: int) -> str:
    if not at_ns:
        return "never"
    return f"{dt.datetime.fromtimestamp(at_ns // 10**9, dt.UTC):%Y-%m-%d %H:%M:%S}"


def _user(account: AccountView) -> str:
    if account.uid is None:
        return "-"
    return ":".join([str(account.uid), ",".join(map(str, account.gids))])
