"""`appliance accounts` on the data directory of a node that is stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.assembly.accounts import ask_running
from appliance.auth.accounts.commands import List
from appliance.journal.inspect import newest
from appliance.model.errors import ConfigError

APPLIANCE = Path(sys.executable).parent / "appliance"
SECRET = "given-secret-of-a-throw-away-account"


class Stopped:
    """A data directory without a node, and the command."""

    def __init__(self, data: Path) -> None:
        self.data = data
        data.mkdir(mode=0o700)

    def run(self, *arguments: str, stdin: str = "", status: int = 0, **environment: str) -> str:
        """What it prints: on standard error where it fails."""
        done = subprocess.run(
            [str(APPLIANCE), "accounts", *arguments, "--data", str(self.data)],
            capture_output=True,
            text=True,
            check=False,
            input=stdin,
            env={"PATH": "/usr/bin:/bin", **environment},
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if status else done.stdout

    def json(self, *arguments: str, **options: str) -> dict:
        return json.loads(self.run(*arguments, "--json", **options))


@pytest.fixture
def stopped(tmp_path):
    return Stopped(tmp_path / "data")


def test_a_directory_that_is_something_else_is_left_alone(stopped):
    (stopped.data / "file").touch()
    said = stopped.run("add", "alice", status=2)
    assert "is not the data directory of a node" in " ".join(said.split())
    assert [path.name for path in stopped.data.iterdir()] == ["file"]


def test_an_account_lives_from_add_to_remove(stopped):
    issued = stopped.json("add", "alice", "--role", "readonly", "--email", "a@example.org")
    assert len(issued["secret_key"]) == 40
    listed = stopped.run("list")
    assert issued["secret_key"] not in listed
    heading, root, alice = listed.splitlines()
    assert heading.split()[:2] == ["ACCOUNT", "ROLE"]
    assert root.split()[:3] == ["root", "root", "enabled"]
    assert alice.split() == [
        *("alice", "readonly", "enabled", issued["access_key"], "enabled", "never", "-"),
        issued["account_id"],
    ]
    assert stopped.run("disable", "alice") == "Account alice is disabled.\n"
    assert stopped.json("list", "alice")["accounts"][0]["disabled"]
    assert stopped.run("enable", "alice") == "Account alice is enabled.\n"
    rotated = stopped.json("rotate", "alice")
    assert rotated["retired"] == [issued["access_key"]]
    added = stopped.json("rotate", "alice", "--keep")
    (account,) = stopped.json("list", "alice")["accounts"]
    assert [key["access_key"] for key in account["keys"]] == [
        rotated["access_key"],
        added["access_key"],
    ]
    assert "is removed" in stopped.run("remove", "alice", "--access-key", added["access_key"])
    assert "with 1 access key(s)" in stopped.run("remove", "alice")
    assert len(stopped.json("list")["accounts"]) == 1


def test_a_new_secret_is_shown_once_for_people_too(stopped):
    lines = stopped.run("add", "alice").splitlines()
    assert [line.split("  ")[0] for line in lines] == ["Account", "Access key", "Secret key"]
    assert lines[2].endswith("(shown once)")


def test_a_given_secret_comes_from_standard_input_or_the_environment(stopped):
    first = stopped.json("add", "a", "--access-key", "FIRST", "--secret-stdin", stdin=f"{SECRET}\n")
    second = stopped.json("add", "b", "--new-access-key", "SECOND", APPLIANCE_NEW_SECRET_KEY=SECRET)
    third = stopped.json(
        "rotate", "b", "--new-access-key", "GIVEN", APPLIANCE_NEW_SECRET_KEY=SECRET
    )
    assert {one["secret_key"] for one in (first, second, third)} == {SECRET}
    given = [one["access_key"] for one in (first, second, third)]
    assert given == ["FIRST", "SECOND", "GIVEN"]
    assert "Give --secret-stdin or" in stopped.run(
        "add", "c", "--secret-stdin", stdin=SECRET, status=2, APPLIANCE_NEW_SECRET_KEY=SECRET
    )
    assert "no secret key on standard input" in stopped.run("add", "c", "--secret-stdin", status=2)


def test_no_option_takes_a_secret(stopped):
    for command in ("add", "rotate"):
        assert "--secret-key" not in stopped.run(command, "--help")
        assert "No such option" in stopped.run(command, "x", "--secret-key", SECRET, status=2)


def test_what_cannot_be_is_one_sentence_and_status_1(stopped):
    stopped.run("add", "alice")
    for arguments, reason in (
        (("add", "alice"), "There is an account alice already."),
        (("add", "a/b"), "The name 'a/b' is not valid"),
        (("rotate", "bob"), "There is no account bob"),
        (("disable", "root"), "The account root comes from the configuration"),
        (("remove", "alice", "--access-key", "AKX"), "Account alice has no access key AKX."),
    ):
        assert stopped.run(*arguments, status=1).startswith(f"Error: {reason}")


def test_users_of_the_system_are_looked_up(stopped):
    stopped.run("add", "a", "--user", "daemon")
    (account,) = stopped.json("list", "a")["accounts"]
    assert (account["uid"], account["gids"][0]) == (1, 1)
    stopped.run("add", "b", "--uid", "7", "--gid", "8", "--gid", "9")
    (account,) = stopped.json("list", "b")["accounts"]
    assert (account["uid"], account["gids"]) == (7, [8, 9])
    assert stopped.run("modify", "b", "--user", "daemon", "--role", "admin").endswith("changed.\n")
    (account,) = stopped.json("list", "b")["accounts"]
    assert (account["uid"], account["role"]) == (1, "admin")
    stopped.run("modify", "b", "--no-user")
    assert stopped.json("list", "b")["accounts"][0]["uid"] is None
    assert "Give a user or" in stopped.run("modify", "b", "--no-user", "--user", "bin", status=2)
    assert "knows no user" in stopped.run("add", "c", "--user", "nobody-of-this-name", status=2)
    assert "not valid" not in stopped.run("add", "c", "--user", "daemon", "--uid", "1", status=2)


def test_a_missing_data_directory_is_not_made(stopped, tmp_path):
    stopped.data = tmp_path / "missing"
    assert "There is no data directory" in stopped.run("list", status=2)
    assert not stopped.data.exists()


def test_no_root_credentials_are_made_that_nobody_sees(stopped):
    stopped.run("add", "alice")
    assert {path.name for path in stopped.data.iterdir()} == {
        "appliance.db",
        "appliance.db.lock",
        "cluster-secret",
    }


def test_the_cluster_secret_is_wanted_before_more_is_sealed_with_another(stopped):
    stopped.run("add", "alice", APPLIANCE_CLUSTER_SECRET="s" * 32)
    assert not (stopped.data / "cluster-secret").exists()
    stopped.run("list", APPLIANCE_CLUSTER_SECRET="s" * 32)
    refused = stopped.run("add", "bob", status=2, APPLIANCE_CLUSTER_SECRET="t" * 32)
    assert "sealed with another cluster secret" in refused
    # The way out where the secret is lost.
    stopped.run("rotate", "alice", APPLIANCE_CLUSTER_SECRET="t" * 32)
    stopped.run("add", "bob", APPLIANCE_CLUSTER_SECRET="t" * 32)


def test_the_journal_shows_no_sealed_secret(stopped):
    stopped.run("add", "alice")
    shown = subprocess.run(
        [str(APPLIANCE), "journal", "tail", "--data", str(stopped.data)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "account" in shown
    assert "access_key" in shown
    assert "sealed" not in shown
    assert b"sealed" in b"".join(e.detail for e in newest(stopped.data / "appliance.db", 9))


@pytest.mark.real
def test_the_files_of_another_users_node_are_left_alone(stopped):
    assert os.geteuid() == 0, "needs root, to give a directory away"
    os.chown(stopped.data, 65534, 65534)
    refused = stopped.run("add", "alice", status=2)
    assert "belongs to user nobody" in refused
    assert list(stopped.data.iterdir()) == []


def test_where_no_node_runs_nobody_is_asked(stopped):
    assert ask_running(stopped.data, List()) is None


def test_a_node_that_does_not_answer_is_reported(stopped, monkeypatch):
    def gone(*_: object) -> bytes:
        raise ConnectionAbortedError("gone")

    monkeypatch.setattr("appliance.status.control.ask", gone)
    with pytest.raises(ConfigError, match="did not answer"):
        ask_running(stopped.data, List())
