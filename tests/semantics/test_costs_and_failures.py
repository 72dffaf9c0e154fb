"""What it costs, what happens when something is broken, and what stays plain."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.semantics.test_reads_and_writes import MIB, noise
from tests.support.disks import tiny_disk
from tests.support.node import ACCESS_KEY, APPLIANCE, SECRET_KEY
from tests.support.signed import signed_headers

pytestmark = pytest.mark.real


def test_a_trusted_hit_makes_no_backend_request(far):
    node, bucket = far.node, far.bucket
    small, large = noise(4096), noise(20 * MIB)
    far.put_straight("small", small)
    far.put_straight("large", large)
    for key, body in (("small", small), ("large", large)):
        assert node.get(bucket, key) == body
    far.proxy.forget()
    for key, body in (("small", small), ("large", large)):
        for _ in range(3):
            assert node.get(bucket, key) == body
            assert node.s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(body)
            assert node.get(bucket, key, Range="bytes=5-99") == body[5:100]
    assert far.proxy.requests == []


def test_many_readers_of_one_uncached_object_cost_one_backend_read(far):
    node, bucket = far.node, far.bucket
    body = noise(3 * MIB)
    far.put_straight("one", body)
    far.proxy.forget()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: node.get(bucket, "one"), range(40)))
    assert all(answer == body for answer in answers)
    assert far.proxy.objects("/one").count("GET") == 1
    assert far.proxy.response_bytes < 1.1 * len(body)


def test_a_cold_random_read_fetches_only_the_blocks_it_touches(far):
    node, bucket = far.node, far.bucket
    body = noise(64 * MIB)
    far.put_straight("sparse", body)
    far.proxy.forget()
    for offset in (40 * MIB + 17, 3 * MIB, 60 * MIB + 5):
        assert (
            node.get(bucket, "sparse", Range=f"bytes={offset}-{offset + 99}")
            == body[offset : offset + 100]
        )
    with (node.mount / bucket / "sparse").open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 100, 20 * MIB) == body[20 * MIB : 20 * MIB + 100]
    assert far.proxy.response_bytes < 16 * MIB


def test_a_restarted_node_serves_what_it_had_cached_without_fetching_it_again(far):
    node, bucket = far.node, far.bucket
    bodies = {f"k{number}": noise(100_000, number) for number in range(20)}
    for key, body in bodies.items():
        far.put_straight(key, body)
        assert node.get(bucket, key) == body
    for restart in (node.stop, node.kill):
        restart()
        node.start()
        far.proxy.forget()
        for key, body in bodies.items():
            assert node.get(bucket, key) == body
        assert not [
            method for key in bodies for method in far.proxy.objects(f"/{key}") if method == "GET"
        ]


def test_while_the_backend_is_away_hits_are_served_and_marked(far_checked):
    node, bucket = far_checked.node, far_checked.bucket
    node.put(bucket, "x", b"kept")
    assert node.get(bucket, "x") == b"kept"
    far_checked.proxy.refuse()
    answer = node.s3.get_object(Bucket=bucket, Key="x")
    assert answer["Body"].read() == b"kept"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-appliance-stale"] == "possible"
    assert node.admin("/readyz")[0] == 200


def test_while_the_backend_is_away_a_miss_is_503_with_retry_after(far):
    far.put_straight("never-read", b"x")
    far.proxy.refuse()
    with pytest.raises(ClientError) as caught:
        far.node.get(far.bucket, "never-read")
    answer = caught.value.response["ResponseMetadata"]
    assert answer["HTTPStatusCode"] == 503
    assert int(answer["HTTPHeaders"]["retry-after"]) > 0
    far.proxy.allow()


def test_a_backend_that_fails_in_the_middle_of_a_read_never_yields_a_complete_looking_short_answer(
    far,
):
    node, bucket = far.node, far.bucket
    body = noise(8 * MIB)
    for number, cut in enumerate((100_000, MIB, 5 * MIB)):
        far.put_straight(f"cut{number}", body)
        far.proxy.cut_after = cut
        path = f"/{bucket}/cut{number}"
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
        connection.request("GET", path, headers=signed_headers("GET", node.endpoint + path))
        with contextlib.suppress(http.client.IncompleteRead, OSError, http.client.HTTPException):
            response = connection.getresponse()
            received = response.read()
            assert response.status != 200 or received == body
        connection.close()
        far.proxy.cut_after = 0
        assert node.get(bucket, f"cut{number}") == body


def test_a_damaged_cache_file_is_noticed_and_fetched_again(far):
    node, bucket = far.node, far.bucket
    body = noise(3 * MIB)
    far.put_straight("x", body)
    assert node.get(bucket, "x") == body
    node.kill()
    [file] = [
        path
        for path in (node.data / "objects").rglob("*")
        if path.is_file() and path.stat().st_size == len(body)
    ]
    with file.open("r+b") as stream:
        stream.seek(MIB + 5)
        stream.write(b"damage")
    node.start()
    assert node.get(bucket, "x") == body


def test_a_full_cache_disk_is_passed_by(tmp_path, ceph):
    from tests.semantics.conftest import far_node

    with tiny_disk(tmp_path / "far" / "data", 64 * MIB) as _:
        for far in far_node(tmp_path, ceph, 'freshness = "exclusive"'):
            node, bucket = far.node, far.bucket
            (node.data / "filler").write_bytes(b"x" * (40 * MIB))
            body = noise(40 * MIB)
            far.put_straight("big", body)
            assert node.get(bucket, "big") == body
            assert (node.mount / bucket / "big").read_bytes() == body
            assert node.get(bucket, "big", Range=f"bytes={30 * MIB}-") == body[30 * MIB :]
            node.put(bucket, "other", body)
            assert node.get(bucket, "other") == body


def test_sigterm_lets_requests_in_flight_finish(posix):
    body = noise(8 * MIB)
    path = "/demo/slow"
    connection = http.client.HTTPConnection("127.0.0.1", posix.port, timeout=60)
    connection.putrequest("PUT", path, skip_accept_encoding=True)
    for name, value in signed_headers("PUT", posix.endpoint + path, "UNSIGNED-PAYLOAD").items():
        if name.lower() != "host":
            connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    # The node asks for the body: from here on the request is in flight.
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100")
    posix.server.process.send_signal(signal.SIGTERM)
    posix.server.wait_until(lambda: posix.admin("/readyz")[0] == 503, "draining node")
    connection.send(body)
    response = connection.getresponse()
    assert response.status == 200
    response.read()
    connection.close()
    assert posix.server.process.wait(60) == 0
    posix.start()
    assert posix.get("demo", "slow") == body


def test_a_second_node_on_the_same_data_directory_is_refused(posix, tmp_path):
    second = subprocess.run(
        [
            str(APPLIANCE),
            "serve",
            f"posix://{tmp_path}/buckets",
            "--data",
            str(posix.data),
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        env={**os.environ, "APPLIANCE_ACCESS_KEY": ACCESS_KEY, "APPLIANCE_SECRET_KEY": SECRET_KEY},
    )
    assert second.returncode == 2
    assert str(posix.data) in second.stderr
    assert "Traceback" not in second.stderr


def test_on_a_posix_backend_objects_are_ordinary_files_under_their_own_paths(posix, tmp_path):
    body = noise(MIB)
    posix.put("demo", "a/b/c.txt", body)
    assert (tmp_path / "buckets" / "demo" / "a" / "b" / "c.txt").read_bytes() == body
    posix.s3.create_bucket(Bucket="second")
    assert (tmp_path / "buckets" / "second").is_dir()


def test_on_an_s3_backend_objects_are_ordinary_objects_under_their_own_keys(far):
    body = noise(MIB)
    far.node.put(
        far.bucket, "a/b/c.txt", body, Metadata={"colour": "blue"}, ContentType="text/x-test"
    )
    answer = far.straight.get_object(Bucket=far.bucket, Key="a/b/c.txt")
    assert answer["Body"].read() == body


def test_a_file_put_into_a_posix_backend_by_hand_is_an_object_with_an_etag_that_is_not_taken_for_an_md5(
    posix, tmp_path
):
    body = noise(100)
    (tmp_path / "buckets" / "demo" / "by hand.txt").write_bytes(body)
    answer = posix.s3.get_object(Bucket="demo", Key="by hand.txt")
    assert answer["Body"].read() == body
    assert "-" in answer["ETag"]
    assert hashlib.md5(body).hexdigest() not in answer["ETag"]
    assert posix.keys("demo") == ["by hand.txt"]
    assert (posix.mount / "demo" / "by hand.txt").read_bytes() == body


def test_nothing_outside_a_posix_backends_root_can_be_reached(posix, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("TOPSECRET")
    inside = tmp_path / "buckets" / "demo"
    (inside / "link").symlink_to(secret)
    (inside / "dir").symlink_to(tmp_path)
    (tmp_path / "buckets" / "linked").symlink_to(tmp_path)
    for bucket, key in (
        ("demo", "link"),
        ("demo", "dir/secret"),
        ("demo", "../../secret"),
        ("demo", "a/../../../secret"),
        ("linked", "secret"),
        ("..", "secret"),
        ("demo", str(secret)),
    ):
        path = f"/{bucket}/{key}"
        connection = http.client.HTTPConnection("127.0.0.1", posix.port, timeout=30)
        connection.request("GET", path, headers=signed_headers("GET", posix.endpoint + path))
        response = connection.getresponse()
        assert b"TOPSECRET" not in response.read()
        assert response.status in {400, 403, 404}
        connection.close()
    posix.put("demo", "../../escaped", b"x")
    assert posix.get("demo", "../../escaped") == b"x"
    assert not (tmp_path / "escaped").exists()
    with pytest.raises(ClientError):
        posix.put("demo", "dir/new", b"x")
    assert not (tmp_path / "new").exists()
