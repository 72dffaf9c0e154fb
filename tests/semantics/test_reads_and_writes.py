"""What is read, and what is written: through real processes, real clients and real mounts."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from tests.support.signed import signed_headers

pytestmark = pytest.mark.real

MIB = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_read_after_an_acknowledged_put_returns_the_new_bytes_through_s3_and_through_the_mount(
    posix, far
):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        for round_ in range(5):
            for size in (0, 10, 5000, 3 * MIB):
                body = noise(size, round_)
                node.put(bucket, f"dir/{size}", body)
                assert node.get(bucket, f"dir/{size}") == body
                assert (node.mount / bucket / "dir" / str(size)).read_bytes() == body


def test_a_file_closed_on_the_mount_is_at_once_readable_through_s3_and_its_etag_is_the_md5_of_its_bytes(
    posix, far
):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        for size in (0, 10, 3 * MIB):
            body = noise(size, 1)
            (node.mount / bucket / f"file-{size}").write_bytes(body)
            answer = node.s3.get_object(Bucket=bucket, Key=f"file-{size}")
            assert answer["Body"].read() == body
            assert answer["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'


def test_a_deleted_object_is_gone_on_both_sides_at_once(posix, far):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        for side in ("s3", "mount"):
            node.put(bucket, "x", b"here")
            path = node.mount / bucket / "x"
            assert path.read_bytes() == b"here"
            if side == "s3":
                node.s3.delete_object(Bucket=bucket, Key="x")
            else:
                path.unlink()
            assert not path.exists()
            with pytest.raises(ClientError, match="NoSuchKey"):
                node.get(bucket, "x")


def test_a_listing_shows_an_acknowledged_write_or_delete_at_once(posix, far):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        for number in range(10):
            node.put(bucket, f"list/{number}", b"")
            (node.mount / bucket / "list" / f"m{number}").write_bytes(b"")
            expected = sorted(
                [f"{n}" for n in range(number + 1)] + [f"m{n}" for n in range(number + 1)]
            )
            assert sorted(os.listdir(node.mount / bucket / "list")) == expected
            assert node.keys(bucket) == [f"list/{name}" for name in expected]
        for number in range(10):
            node.s3.delete_object(Bucket=bucket, Key=f"list/{number}")
            (node.mount / bucket / "list" / f"m{number}").unlink()
            assert len(node.keys(bucket)) == 18 - 2 * number


def test_a_reader_never_sees_a_mix_of_two_versions(posix, far):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        size = 4 * MIB
        versions = [bytes([number]) * size for number in range(6)]
        node.put(bucket, "torn", versions[0])
        done = threading.Event()
        seen: set[int] = set()

        def read_all(node=node, bucket=bucket, done=done, seen=seen, versions=versions):
            while not done.is_set():
                body = node.get(bucket, "torn")
                assert len(body) == len(versions[0])
                assert body == bytes([body[0]]) * len(body)
                seen.add(body[0])
                body = (node.mount / bucket / "torn").read_bytes()
                assert body == bytes([body[0]]) * len(body)

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read_all) for _ in range(3)]
            try:
                for body in versions[1:]:
                    node.put(bucket, "torn", body)
                    assert node.get(bucket, "torn") == body
            finally:
                done.set()
            for reader in readers:
                reader.result()
        assert seen


def test_a_reader_that_has_an_old_version_open_keeps_reading_it_whole(posix, far):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        old, new = noise(3 * MIB, 1), noise(3 * MIB + 5, 2)
        node.put(bucket, "open", old)
        with (node.mount / bucket / "open").open("rb") as file:
            assert file.read(100) == old[:100]
            node.put(bucket, "open", new)
            assert (node.mount / bucket / "open").read_bytes() == new
            assert file.read() == old[100:]


def test_a_change_made_in_the_backend_by_others_is_seen_once_the_buckets_freshness_has_passed(
    far_checked,
):
    node, bucket = far_checked.node, far_checked.bucket
    node.put(bucket, "x", b"ours")
    assert node.get(bucket, "x") == b"ours"
    far_checked.put_straight("x", b"theirs!")
    assert node.get(bucket, "x") == b"theirs!"
    far_checked.straight.delete_object(Bucket=bucket, Key="x")
    with pytest.raises(ClientError, match="NoSuchKey"):
        node.get(bucket, "x")


def test_on_a_local_posix_backend_a_change_made_by_others_is_seen_at_the_next_read(posix, tmp_path):
    file = tmp_path / "buckets" / "demo" / "x"
    etags = set()
    for number in range(20):
        body = b"%03d" % number
        file.write_bytes(body)
        answer = posix.s3.get_object(Bucket="demo", Key="x")
        assert answer["Body"].read() == body
        etags.add(answer["ETag"])
    assert len(etags) == 20


def test_an_acknowledged_write_survives_kill_9(posix, far):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        generator = random.Random(9)
        for _ in range(3):
            acknowledged: dict[str, bytes] = {}
            stop_at = generator.randrange(5, 25)
            enough = threading.Event()

            def write(
                worker,
                node=node,
                bucket=bucket,
                acknowledged=acknowledged,
                stop_at=stop_at,
                enough=enough,
            ):
                with contextlib.suppress(
                    EndpointConnectionError, ConnectionClosedError, ClientError, OSError
                ):
                    for number in range(200):
                        key = f"k{worker}/{number}"
                        body = noise(10_000, number)
                        if worker:
                            node.put(bucket, key, body)
                        else:
                            with (node.mount / bucket / f"m-{number}").open("wb") as file:
                                file.write(body)
                            key = f"m-{number}"
                        acknowledged[key] = body
                        if len(acknowledged) >= stop_at:
                            enough.set()

            with ThreadPoolExecutor(3) as pool:
                writers = [pool.submit(write, worker) for worker in range(3)]
                assert enough.wait(60)
                node.kill()
                for writer in writers:
                    writer.exception()
            node.start()
            for key, body in acknowledged.items():
                assert node.get(bucket, key) == body


def test_a_write_that_was_not_acknowledged_is_whole_or_absent_after_kill_9(posix, far):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        for share in (1, MIB, 4 * MIB - 1, 4 * MIB):
            body = noise(4 * MIB, share)
            connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
            path = f"/{bucket}/cut-{share}"
            connection.putrequest("PUT", path, skip_accept_encoding=True)
            for name, value in signed_headers(
                "PUT", node.endpoint + path, "UNSIGNED-PAYLOAD"
            ).items():
                if name.lower() != "host":
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            connection.send(body[:share])
            node.kill()
            connection.close()
            node.start()
            if f"cut-{share}" in node.keys(bucket):
                assert share == len(body)
                assert node.get(bucket, f"cut-{share}") == body
            assert not (node.mount / bucket / f"cut-{share}").exists() or share == len(body)


def test_of_racing_conditional_puts_exactly_one_wins(posix):
    for round_ in range(20):

        def attempt(number, round_=round_):
            try:
                posix.put("demo", f"race-{round_}", b"%d" % number, IfNoneMatch="*")
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {409, 412}:
                    raise
                return None
            return number

        with ThreadPoolExecutor(4) as pool:
            winners = [number for number in pool.map(attempt, range(4)) if number is not None]
        assert len(winners) == 1
        assert posix.get("demo", f"race-{round_}") == b"%d" % winners[0]


def test_an_upload_that_is_cut_off_in_the_middle_leaves_nothing_behind(posix, far, tmp_path):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        node.put(bucket, "cut", b"before")
        path = f"/{bucket}/cut"
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
        connection.putrequest("PUT", path, skip_accept_encoding=True)
        for name, value in signed_headers("PUT", node.endpoint + path, "UNSIGNED-PAYLOAD").items():
            if name.lower() != "host":
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(8 * MIB))
        connection.endheaders()
        connection.send(noise(5 * MIB))
        connection.close()
        assert node.get(bucket, "cut") == b"before"
        assert node.keys(bucket) == ["cut"]
    assert [
        p.name
        for p in (tmp_path / "buckets" / "demo").iterdir()
        if not p.name.startswith(".appliance")
    ] == ["cut"]


def test_a_body_that_does_not_match_its_checksum_is_refused_and_stores_nothing(posix, far):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        with pytest.raises(ClientError, match="BadDigest"):
            node.put(bucket, "bad", b"x" * 100, ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
        with pytest.raises(
            ClientError, match=r"BadDigest|XAmzContentChecksumMismatch|InvalidRequest"
        ):
            node.put(bucket, "bad", b"x" * (2 * MIB), ChecksumSHA256="A" * 43 + "=")
        assert node.keys(bucket) == []
        assert not (node.mount / bucket / "bad").exists()


def test_a_multipart_upload_can_be_completed_after_a_restart(posix, far):
    for node, bucket in ((posix, "demo"), (far.node, far.bucket)):
        upload = node.s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
        bodies = [noise(5 * MIB, 1), noise(5 * MIB, 2), noise(100, 3)]
        arguments = {"Bucket": bucket, "Key": "big", "UploadId": upload}
        parts = []
        for number, body in enumerate(bodies, 1):
            answer = node.s3.upload_part(**arguments, PartNumber=number, Body=body)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            node.kill()
            node.start()
        answer = node.s3.complete_multipart_upload(**arguments, MultipartUpload={"Parts": parts})
        joined = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
        assert answer["ETag"] == f'"{joined}-3"'
        assert node.get(bucket, "big") == b"".join(bodies)
