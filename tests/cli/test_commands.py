"""Commands that start nothing: right input, wrong input, exit statuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli.status import rows, size

APPLIANCE = Path(sys.executable).parent / "appliance"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(APPLIANCE), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def test_config_check_accepts_and_refuses(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('[[backend]]\nurl = "posix:///srv"\n')
    good = run("config", "check", "--config", str(file))
    assert (good.returncode, good.stdout) == (0, "The configuration is valid: 1 backend(s).\n")
    file.write_text("[cache]\ncapcity = 1\n")
    bad = run("config", "check", "--config", str(file))
    assert bad.returncode == 2
    assert (
        bad.stderr == f"appliance: {file}: cache.capcity: unknown key; did you mean 'capacity'?\n"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[[backend]]\nurl = "gluster://x"\n', "No plugin provides gluster:// backends."),
        ('[[backend]]\nurl = "posix:///srv"\noptions = { foo = 1 }\n', "backend[0]: "),
        ('[[backend]]\nurl = "s3://"\noptions = { acess_key = "x" }\n', "acess_key"),
        ('[s3]\ntls_certificate = "/nonexist"\ntls_key = "/nonexist"\n', "s3.tls_certificate: "),
        (
            '[credentials]\naccess_key = "AKX"\nsecret_key_file = "/nonexist"\n',
            "credentials.secret_key_file: /nonexist",
        ),
        (
            '[node]\ndata = "/srv/x/data"\n[[backend]]\nurl = "posix:///srv/x"\n',
            "node.data: /srv/x/data and the directory",
        ),
        (
            '[mount]\npath = "/srv/x"\n[[backend]]\nurl = "posix:///srv/x/y"\n',
            "mount.path: /srv/x and the directory",
        ),
    ],
)
def test_config_check_finds_what_only_plugins_and_files_can_tell(tmp_path, text, reason):
    file = tmp_path / "a.toml"
    file.write_text(text)
    result = run("config", "check", "--config", str(file))
    assert result.returncode == 2
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def test_config_show_prints_what_is_in_force(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('[credentials]\naccess_key = "AKX"\nsecret_key = "not-to-be-seen"\n')
    shown = run("config", "show", APPLIANCE_CONFIG=str(file))
    assert shown.returncode == 0
    assert 'access_key = "AKX"' in shown.stdout
    assert "not-to-be-seen" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("serve",), "There is no backend: give BACKEND_URL"),
        (("serve", "/srv/data"), "'/srv/data' is not a URL such as posix:///srv/data"),
        (("serve", "gopher://x"), "No plugin provides gopher:// backends."),
        (("serve", "posix:///does/not/exist"), "/does/not/exist"),
        (("serve", "posix:///srv", "--listen", "nowhere"), "'nowhere' is not an address"),
        (("serve", "posix:///srv", "--capacity", "much"), "'much' is not a size"),
        (
            ("serve", "posix:///srv", "--listen", "192.0.2.1:9000"),
            "cannot listen on 192.0.2.1:9000",
        ),
        (("status", "--admin", "127.0.0.1:1"), "No node answers at 127.0.0.1:1"),
        (("journal", "tail"), "There is no journal at"),
        (("nonsense",), "No such command"),
    ],
)
def test_wrong_use_is_one_sentence_and_no_traceback(arguments, message, tmp_path):
    options = (
        ("--data", str(tmp_path / "data"), "--admin", "127.0.0.1:0")
        if arguments[0] == "serve"
        else ()
    )
    if arguments[0] == "journal":
        options = ("--data", str(tmp_path))
    result = run(*arguments, *options)
    assert result.returncode in {1, 2}
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("serve", "posix:///srv", "--data", str(tmp_path / "file" / "data"))
    assert result.returncode == 2
    assert f"The data directory {tmp_path}/file/data cannot be used" in result.stderr


def sample(boot_s, requests, sent):
    return {
        "node": "n",
        "state": "ready",
        "boot_s": boot_s,
        "backends": [{"name": "far", "url": "s3://"}, {"name": "near", "url": "posix:///x"}],
        "probes": {"far": "no answer in time", "near": ""},
        "mount": "/mnt",
        "parts": {
            "cache": {
                "hits_total": 75.0,
                "misses_total": 25.0,
                "used_bytes": 2**30,
                "capacity_bytes": 2**31,
                "objects": 5.0,
            },
            "s3": {
                "requests_total": requests,
                "sent_bytes_total": sent,
                "received_bytes_total": 0.0,
                "connections_open": 2.0,
            },
        },
    }


def test_status_shows_capacity_ratio_rates_and_backends():
    lines = dict(rows(sample(10.0, 100.0, 0.0), sample(12.0, 300.0, 2.0 * 2**20)))
    assert lines["Cache"] == "1.0 GiB of 2.0 GiB, 5 objects"
    assert lines["Hit ratio"] == "75.0% of 100 reads since start"
    assert lines["S3"].startswith("100.0 requests/s")
    assert lines["Throughput"] == "1.0 MiB/s out, 0 B/s in (last 2.0 s)"
    assert lines["Backend far"] == "s3://  no answer in time"
    assert lines["Backend near"] == "posix:///x  answers"
    assert lines["Mount"] == "/mnt"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1.0 KiB"),
        (5 * 2**40, "5.0 TiB"),
        (2**60, "1,048,576.0 TiB"),
    ],
)
def test_sizes_are_for_people(number, text):
    assert size(number) == text
