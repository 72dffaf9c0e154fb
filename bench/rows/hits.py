"""The S3 endpoint where the bytes are near: a POSIX backend, beside `rclone serve s3` over the same directory."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from bench import data, load
from bench.report import PRODUCT, Result, alternate
from bench.scene import Scene, Server

RCLONE = "rclone serve s3"


def _pair(scene: Scene) -> tuple[Server, Server]:
    source = scene.directory / "source"
    return scene.appliance("data", f"posix://{source}"), scene.rclone_serve("rclone", str(source))


def get_4k(scene: Scene, rounds: int) -> Sequence[Result]:
    """Signed GETs of 4 KiB objects over 16 keep-alive connections, each server on one core."""
    names = data.small(scene.path("source"))
    ours, theirs = _pair(scene)
    upstream = scene.upstream(scene.directory / "source")
    cached = scene.appliance("cached", scene.upstream_url(upstream))
    paths = [f"/{data.BUCKET}/{name}" for name in names]

    def rate(server: Server) -> float:
        return load.wrk(server, paths, scene.directory, connections=16, seconds=3)

    sides = {PRODUCT: lambda: rate(ours), RCLONE: lambda: rate(theirs)}
    local = alternate(rounds, sides)
    near = alternate(rounds, {PRODUCT: lambda: rate(cached), RCLONE: lambda: rate(theirs)})
    return [
        Result("signed GET of 4 KiB, POSIX backend", "requests/s", "more", local, {RCLONE: 1.3}),
        Result(
            "signed GET of 4 KiB, hits in the cache of an S3 upstream",
            "requests/s",
            "more",
            near,
            {RCLONE: 1.3},
        ),
    ]


def get_1g(scene: Scene, rounds: int) -> Sequence[Result]:
    """GET of 1 GiB: seconds, and CPU seconds of the server."""
    data.big(scene.path("source"))
    ours, theirs = _pair(scene)
    path = f"/{data.BUCKET}/big"
    cpu: dict[str, list[float]] = {PRODUCT: [], RCLONE: []}

    def timed(side: str, server: Server) -> float:
        before = server.cpu_s()
        seconds = load.curl_get(server, path)
        cpu[side].append(server.cpu_s() - before)
        return seconds

    sides = {PRODUCT: lambda: timed(PRODUCT, ours), RCLONE: lambda: timed(RCLONE, theirs)}
    wall = alternate(rounds, sides)
    counted = {side: values[1:] for side, values in cpu.items()}
    return [
        Result("GET of 1 GiB", "s", "less", wall, {RCLONE: 1.5}),
        Result("GET of 1 GiB: CPU of the server", "s", "less", counted, {RCLONE: 2.0}),
    ]


def put_1g(scene: Scene, rounds: int) -> Sequence[Result]:
    """PUT of 1 GiB with UNSIGNED-PAYLOAD. This product has it on the disk when it answers; rclone does not fsync."""
    source = scene.path("source")
    file = data.big(source, "upload")
    ours, theirs = _pair(scene)
    path = f"/{data.BUCKET}/put"

    def timed(server: Server) -> float:
        seconds = load.curl_put(server, path, file)
        (source / data.BUCKET / "put").unlink()
        return seconds

    samples = alternate(rounds, {PRODUCT: lambda: timed(ours), RCLONE: lambda: timed(theirs)})
    return [Result("PUT of 1 GiB, unsigned payload", "s", "less", samples, {RCLONE: 1.0})]


def memory(scene: Scene, _rounds: int) -> Sequence[Result]:
    """Greatest resident memory while 4 GETs and 4 PUTs of 1 GiB each run at once, POSIX backend and S3 upstream."""
    source = scene.path("source")
    file = data.big(source)
    ours, _ = _pair(scene)
    upstream = scene.upstream(source)
    cached = scene.appliance("cached", scene.upstream_url(upstream))
    results = []
    for server, what in ((ours, "POSIX backend"), (cached, "S3 upstream")):
        _stream(server, file)
        for line in open(f"/proc/{server.process.pid}/status", encoding="ascii"):  # noqa: SIM115  # procfs
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1]) / 1024
                results.append(
                    Result(
                        f"memory at 4 GETs and 4 PUTs of 1 GiB, {what}",
                        "MiB",
                        "less",
                        {PRODUCT: [peak]},
                        {},
                        200.0,
                    )
                )
    return results


def _stream(server: Server, file: object) -> None:
    commands = [
        load.curl_command(server, "GET", f"/{data.BUCKET}/big", ["-o", "/dev/null"])
        for _ in range(4)
    ] + [
        load.curl_command(
            server,
            "PUT",
            f"/{data.BUCKET}/put-{number}",
            ["-T", str(file), "-o", "/dev/null"],
            "UNSIGNED-PAYLOAD",
        )
        for number in range(4)
    ]
    running = [subprocess.Popen(command) for command in commands]
    failed = [process.args for process in running if process.wait(600)]
    if failed:
        raise RuntimeError(f"failed: {failed}")
