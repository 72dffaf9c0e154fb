"""What nobody has cached yet: every round begins with empty caches in front of the same upstream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench import data, load
from bench.clients import fetch_all
from bench.report import PRODUCT, Result, alternate
from bench.scene import Scene, Server

SERVE = "rclone serve s3"
MOUNT = "rclone mount"


class _Fresh:
    """Servers and mounts with empty caches, one at a time."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.upstream = scene.upstream(scene.directory / "source")
        self.round = 0

    def served(self, side: str, measure: Callable[[Server], float]) -> float:
        self.round += 1
        name = f"fresh-{self.round}"
        if side == PRODUCT:
            server = self.scene.appliance(name, self.scene.upstream_url(self.upstream))
        else:
            server = self.scene.rclone_serve(name, self.scene.rclone_remote(self.upstream))
        try:
            return measure(server)
        finally:
            self.scene.stop(server)

    def mounted(self, side: str, measure: Callable[[Path], float]) -> float:
        self.round += 1
        name = f"fresh-{self.round}"
        point = self.scene.path(f"{name}-mount")
        if side == PRODUCT:
            server = self.scene.appliance(name, self.scene.upstream_url(self.upstream), mount=point)
        else:
            server = self.scene.rclone_mount(name, self.scene.rclone_remote(self.upstream), point)
        try:
            return measure(point / data.BUCKET)
        finally:
            self.scene.stop(server)


def big(scene: Scene, rounds: int) -> Sequence[Result]:
    """GET of 1 GiB that is not cached."""
    data.big(scene.path("source"))
    fresh = _Fresh(scene)

    def timed(server: Server) -> float:
        return load.curl_get(server, f"/{data.BUCKET}/big")

    sides = {side: lambda side=side: fresh.served(side, timed) for side in (PRODUCT, SERVE)}
    return [
        Result(
            "cold GET of 1 GiB from an S3 upstream",
            "s",
            "less",
            alternate(rounds, sides),
            {SERVE: 1.5},
        )
    ]


def small(scene: Scene, rounds: int) -> Sequence[Result]:
    """1,000 objects of 4 KiB that are not cached, over 8 connections."""
    names = data.small(scene.path("source"))
    paths = [f"/{data.BUCKET}/{name}" for name in names]
    fresh = _Fresh(scene)

    def timed(server: Server) -> float:
        return fetch_all(server, paths, connections=8)

    sides = {side: lambda side=side: fresh.served(side, timed) for side in (PRODUCT, SERVE)}
    return [
        Result(
            "cold GET of 1,000 x 4 KiB from an S3 upstream",
            "s",
            "less",
            alternate(rounds, sides),
            {SERVE: 1.5},
        )
    ]


def mount_big(scene: Scene, rounds: int) -> Sequence[Result]:
    """Read of a 1 GiB file that is not cached."""
    data.big(scene.path("source"))
    fresh = _Fresh(scene)

    def timed(folder: Path) -> float:
        return load.read_file(folder / "big")

    sides = {side: lambda side=side: fresh.mounted(side, timed) for side in (PRODUCT, MOUNT)}
    return [
        Result(
            "mount: cold read of 1 GiB from an S3 upstream",
            "s",
            "less",
            alternate(rounds, sides),
            {MOUNT: 1.5},
        )
    ]


def mount_small(scene: Scene, rounds: int) -> Sequence[Result]:
    """Open, read and close each of 1,000 files that are not cached."""
    names = data.small(scene.path("source"))
    fresh = _Fresh(scene)

    def timed(folder: Path) -> float:
        return load.read_files([folder / name for name in names])

    sides = {side: lambda side=side: fresh.mounted(side, timed) for side in (PRODUCT, MOUNT)}
    return [
        Result(
            "mount: cold read of 1,000 x 4 KiB from an S3 upstream",
            "s",
            "less",
            alternate(rounds, sides),
            {MOUNT: 1.5},
        )
    ]
