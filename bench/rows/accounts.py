"""The S3 endpoint of a site: 1,000 accounts, and a bucket policy that names sixty of them. The hot path must not notice."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import time
from collections.abc import Callable, Sequence

from botocore.credentials import Credentials

from appliance.assembly.accounts import ask_running
from appliance.auth.accounts.commands import Add, Issued
from bench import clients, data, load
from bench.report import PRODUCT, Result, alternate
from bench.scene import Scene, Server

RCLONE = "rclone serve s3"
VERSITYGW = "versitygw"
ACCOUNTS = 1000
# As many as fit into the 20 KB that a policy may have, nearly.
NAMED = 60
LISTED = 100_000
PAGE = 1000


class Site:
    """The servers of a row over one directory, ours with accounts and a policy. `guest` are keys that the policy lets in."""

    def __init__(self, scene: Scene) -> None:
        self.source = scene.directory / "source"
        self.directory = scene.directory
        self.ours = scene.appliance("data", f"posix://{self.source}")
        self.guest = self._populate(scene)
        self.peers = {RCLONE: scene.rclone_serve("rclone", str(self.source))}
        versitygw = scene.versitygw("versitygw", self.source)
        if versitygw is not None:
            self.peers[VERSITYGW] = versitygw

    def _populate(self, scene: Scene) -> Credentials:
        issued = []
        for number in range(ACCOUNTS):
            answer = ask_running(scene.directory / "data", Add(name=f"account-{number:04}"))
            assert isinstance(answer, Issued), answer
            issued.append(answer)
        statements = [
            {
                "Sid": f"s{number}",
                "Effect": "Allow",
                "Principal": {"AWS": one.account_id},
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{data.BUCKET}", f"arn:aws:s3:::{data.BUCKET}/*"],
            }
            for number, one in enumerate(issued[:NAMED])
        ]
        policy = json.dumps(
            {"Version": "2012-10-17", "Statement": statements}, separators=(",", ":")
        ).encode()
        status, text = ask(self.ours, "PUT", f"/{data.BUCKET}?policy=", policy)
        assert status in {200, 204}, text
        last = issued[NAMED - 1]
        return Credentials(last.access_key, last.secret_key)

    def sides(
        self, measure: Callable[[Server, Credentials], float]
    ) -> dict[str, Callable[[], float]]:
        """Product and peers, by the owner of the bucket."""
        servers = {PRODUCT: self.ours, **self.peers}
        return {name: _bound(measure, server, load.ROOT) for name, server in servers.items()}

    def guest_sides(
        self, measure: Callable[[Server, Credentials], float]
    ) -> dict[str, Callable[[], float]]:
        """The same, but ours by the account that the policy lets in."""
        return {**self.sides(measure), PRODUCT: _bound(measure, self.ours, self.guest)}

    def targets(self, ratio: float) -> dict[str, float]:
        return dict.fromkeys([RCLONE], ratio)


def _bound(
    measure: Callable[[Server, Credentials], float], server: Server, keys: Credentials
) -> Callable[[], float]:
    return lambda: measure(server, keys)


def ask(
    server: Server, method: str, path: str, body: bytes = b"", keys: Credentials = load.ROOT
) -> tuple[int, bytes]:
    """Status and body of one signed request."""
    digest = hashlib.sha256(body).hexdigest()
    headers = load.signed_headers(method, server.endpoint + path, digest, keys)
    headers["Content-MD5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def get_4k(scene: Scene, rounds: int) -> Sequence[Result]:
    """GET and HEAD of 4 KiB, hits, over 16 connections, each server on one core."""
    names = data.small(scene.path("source"))
    site = Site(scene)
    paths = [f"/{data.BUCKET}/{name}" for name in names]

    def gets(server: Server, keys: Credentials) -> float:
        return load.wrk(server, paths, site.directory, connections=16, seconds=3, keys=keys)

    def heads(server: Server, keys: Credentials) -> float:
        return clients.head_rate(server, paths, connections=16, seconds=3, keys=keys)

    results = []
    for method, rate in (("GET", gets), ("HEAD", heads)):
        for who, sides in (("owner", site.sides(rate)), ("by policy", site.guest_sides(rate))):
            row = f"signed {method} of 4 KiB, 1,000 accounts and a policy, {who}"
            results.append(
                Result(row, "requests/s", "more", alternate(rounds, sides), site.targets(2.0))
            )
    return results


def put_4k(scene: Scene, rounds: int) -> Sequence[Result]:
    """PUT of 4 KiB over 16 connections. This product has it on the disk when it answers; rclone does not fsync."""
    names = data.small(scene.path("source"))
    site = Site(scene)
    paths = [f"/{data.BUCKET}/{name}" for name in names]
    body = "x" * data.SMALL_BYTES

    def rate(server: Server, keys: Credentials) -> float:
        return load.wrk(
            server,
            paths,
            site.directory,
            connections=16,
            seconds=3,
            method="PUT",
            body=body,
            keys=keys,
        )

    samples = alternate(rounds, site.guest_sides(rate))
    row = "PUT of 4 KiB, 1,000 accounts and a policy, by policy"
    return [Result(row, "requests/s", "more", samples, site.targets(1.0))]


def list_1000(scene: Scene, rounds: int) -> Sequence[Result]:
    """Pages of 1,000 keys, from anywhere in 100,000, one after another."""
    names = data.many(scene.path("source"), LISTED, "many")
    site = Site(scene)
    starts = [names[number] for number in range(0, LISTED - PAGE, LISTED // 10)]

    def seconds(server: Server, keys: Credentials) -> float:
        begin = time.perf_counter()
        for start in starts:
            # Encoded, and in order, as they are signed.
            query = f"list-type=2&max-keys={PAGE}&prefix=many%2F&start-after={start.replace('/', '%2F')}"
            status, answer = ask(server, "GET", f"/{data.BUCKET}?{query}", keys=keys)
            assert (status, answer.count(b"<Key>")) == (200, PAGE), answer[:500]
        return (time.perf_counter() - begin) / len(starts)

    samples = alternate(rounds, site.guest_sides(seconds))
    row = "LIST of 1,000 keys out of 100,000, 1,000 accounts and a policy, by policy"
    return [Result(row, "s", "less", samples, site.targets(1.0))]


def delete_1000(scene: Scene, rounds: int) -> Sequence[Result]:
    """1,000 keys in one request."""
    source = scene.path("source")
    (source / data.BUCKET).mkdir()
    site = Site(scene)
    names = [f"doomed/{number:04}" for number in range(PAGE)]
    listed = "".join(f"<Object><Key>{name}</Key></Object>" for name in names)
    body = f"<Delete>{listed}<Quiet>true</Quiet></Delete>".encode()

    def seconds(server: Server, keys: Credentials) -> float:
        # Made by the server that is to delete them: rclone believes for minutes what it knows of a directory.
        paths = [f"/{data.BUCKET}/{name}" for name in names]
        clients.fetch_all(server, paths, connections=8, method="PUT")
        begin = time.perf_counter()
        status, answer = ask(server, "POST", f"/{data.BUCKET}?delete=", body, keys)
        elapsed = time.perf_counter() - begin
        assert status == 200, answer[:500]
        folder = source / data.BUCKET / "doomed"
        assert not folder.exists() or not any(folder.iterdir()), "not all are gone"
        return elapsed

    samples = alternate(rounds, site.guest_sides(seconds))
    row = "DELETE of 1,000 keys in one request, 1,000 accounts and a policy, by policy"
    return [Result(row, "s", "less", samples, site.targets(5.0))]
