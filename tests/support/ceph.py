"""A whole Ceph on the loopback interface: one monitor, manager, OSD (in memory), metadata server, radosgw, and a mounted CephFS.

Everything runs as root, and all daemons share one key (radosgw cannot do without); the S3 gateway has a user with keys of its own.
About 4 s to start, 1 GB of memory.
Needs the Debian packages ceph-mon ceph-mgr ceph-osd ceph-mds radosgw ceph-fuse ceph-common.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Server, free_ports

ACCESS_KEY = "CEPHACCESSKEY"
SECRET_KEY = "ceph-secret-key-of-a-throw-away-cluster"
COMMAND_TIMEOUT_S = 60


@dataclass(frozen=True)
class Ceph:
    """What tests need to know. `cephfs` is the mount path; the servers are there to be paused or killed by tests that bring their own."""

    endpoint: str
    access_key: str
    secret_key: str
    cephfs: Path
    servers: dict[str, Server]


def configuration(root: Path, ports: tuple[int, int, int]) -> str:
    """ceph.conf of the cluster below `root`; ports are the monitor's (v2, v1) and the gateway's."""
    v2, v1, gateway = ports
    sections: dict[str, dict[str, object]] = {
        "global": {
            "fsid": uuid.uuid4(),
            "mon host": f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]",
            "mon initial members": "a",
            "public addr": "127.0.0.1",
            "cluster addr": "127.0.0.1",
            "keyring": root / "keyring",
            "auth allow insecure global id reclaim": "false",
            "run dir": root,
            "log file": root / "$name.log",
            "admin socket": root / "$name.asok",
            "pid file": "",
            "crash dir": root,
            # One OSD holds one copy of everything.
            "osd pool default size": 1,
            "osd pool default min size": 1,
            "osd pool default pg num": 8,
            "osd pool default pg autoscale mode": "off",
            "osd crush chooseleaf type": 0,
            "mon max pg per osd": 1000,
            "mon allow pool delete": "true",
            "mon allow pool size one": "true",
            "mon warn on pool no redundancy": "false",
            # The disk under the temporary directory may be nearly full; nothing is kept on it.
            "mon data avail crit": 1,
            "mon data avail warn": 1,
            "osd failsafe full ratio": 0.999,
        },
        # Without batching of proposals the cluster forms in seconds.
        "mon": {
            "mon data": root / "mon",
            "paxos propose interval": 0.05,
            "paxos min wait": 0.02,
        },
        "mgr": {"mgr data": root / "mgr", "mgr initial modules": ""},
        "osd": {
            "osd data": root / "osd",
            "osd objectstore": "memstore",
            "memstore device bytes": 6 << 30,
            "osd op num shards": 2,
            "osd op num threads per shard": 1,
        },
        "mds": {"mds data": root / "mds", "mds cache memory limit": 256 << 20},
        "client.rgw": {
            "rgw data": root / "rgw",
            "rgw frontends": f"beast endpoint=127.0.0.1:{gateway}",
            "rgw thread pool size": 64,
            "rgw enable usage log": "false",
        },
    }
    lines: list[str] = []
    for name, options in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{option} = {value}" for option, value in options.items()]
    return "\n".join(lines) + "\n"


def keyring(key: str) -> str:
    """The keys of all daemons: one for all, with every right."""
    names = ("mon.", "mgr.x", "osd.0", "mds.a", "client.rgw", "client.admin")
    rights = "".join(f'caps {kind} = "allow *"\n' for kind in ("mon", "mgr", "osd", "mds"))
    return "\n".join(f"[{name}]\nkey = {key}\n{rights}" for name in names)


class _Cluster:
    """The steps of bringing one up, and taking whatever came up down again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"CEPH_CONF": str(root / "ceph.conf")}
        self.servers: dict[str, Server] = {}
        self.mount = root / "cephfs"

    def run(self, *argv: str, text: str = "") -> str:
        """Output of a command of Ceph's; fails with its error."""
        done = subprocess.run(
            argv,
            input=text,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stdout}{done.stderr}")
        return done.stdout

    def serve(self, name: str, *argv: str) -> Server:
        server = Server(argv, self.root / f"{name}.out", self.environment)
        self.servers[name] = server
        return server

    def start(self) -> Ceph:
        v2, v1, gateway = free_ports(3)
        for name in ("mon", "mgr", "osd", "mds", "rgw", "cephfs"):
            (self.root / name).mkdir()
        (self.root / "ceph.conf").write_text(configuration(self.root, (v2, v1, gateway)))
        key = self.run("ceph-authtool", "--gen-print-key").strip()
        (self.root / "keyring").write_text(keyring(key))
        self._monitor(v2, v1)
        self._storage()
        self._gateway(gateway)
        self._filesystem()
        return Ceph(
            endpoint=f"http://127.0.0.1:{gateway}",
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            cephfs=self.mount,
            servers=self.servers,
        )

    def _monitor(self, v2: int, v1: int) -> None:
        monmap = str(self.root / "monmap")
        addresses = f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]"
        self.run("monmaptool", "--create", "--addv", "a", addresses, monmap)
        keys = str(self.root / "keyring")
        self.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keys)
        self.serve("mon", "ceph-mon", "-i", "a", "-f").wait_for_port(v2)

    def _storage(self) -> None:
        osd = str(uuid.uuid4())
        # One interpreter for all commands: each start of `ceph` costs 0.3 s.
        commands = (
            f"osd new {osd}",
            "osd pool create fsmeta 8",
            "osd pool create fsdata 8",
            "fs new fs fsmeta fsdata",
        )
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.run("ceph", text="\n".join(commands) + "\n")
        self.serve("mgr", "ceph-mgr", "-i", "x", "-f")
        self.serve("osd", "ceph-osd", "-i", "0", "-f")
        self.serve("mds", "ceph-mds", "-i", "a", "-f")

    def _gateway(self, port: int) -> None:
        server = self.serve("rgw", "radosgw", "-n", "client.rgw", "-f")
        keys = (f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
        self.run("radosgw-admin", "user", "create", "--uid=test", "--display-name=test", *keys)
        server.wait_for_port(port)

    def _filesystem(self) -> None:
        # ceph-fuse waits by itself for an active metadata server; the manager tells a little later how much space there is.
        server = self.serve("fuse", "ceph-fuse", "-f", str(self.mount))
        server.wait_until(self.mount.is_mount, f"mount at {self.mount}")
        server.wait_until(lambda: os.statvfs(self.mount).f_bavail > 0, "free space in CephFS")

    def stop(self) -> None:
        if "fuse" in self.servers:
            # Lazily: a test may have left a file open, or the server may be dead.
            command = ["umount", "--lazy", str(self.mount)]
            subprocess.run(command, check=False, capture_output=True)
            self.servers["fuse"].stop()
        for server in reversed(self.servers.values()):
            server.kill()  # nothing of it is kept
        shutil.rmtree(self.root)


@contextlib.contextmanager
def ceph_cluster() -> Iterator[Ceph]:
    """A cluster of its own while the block runs."""
    cluster = _Cluster(Path(tempfile.mkdtemp(prefix="appliance-ceph-")))
    try:
        yield cluster.start()
    finally:
        cluster.stop()
