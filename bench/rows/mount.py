"""The mount where the bytes are near: cached objects of an S3 upstream, beside `rclone mount` and `s3fs` over the same upstream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import data, load
from bench.report import PRODUCT, Result, alternate
from bench.scene import Scene

RCLONE = "rclone mount"
S3FS = "s3fs"


def mounts(scene: Scene) -> Mapping[str, Path]:
    """The upstream's bucket under each side's mount."""
    upstream = scene.upstream(scene.directory / "source")
    points = {
        side: scene.path(f"mount-{side.replace(' ', '-')}") for side in (PRODUCT, RCLONE, S3FS)
    }
    scene.appliance("data", scene.upstream_url(upstream), mount=points[PRODUCT])
    scene.rclone_mount("rclone", scene.rclone_remote(upstream), points[RCLONE])
    scene.s3fs("s3fs", data.BUCKET, upstream, points[S3FS])
    return {
        PRODUCT: points[PRODUCT] / data.BUCKET,
        RCLONE: points[RCLONE] / data.BUCKET,
        S3FS: points[S3FS],
    }


def _sides(
    folders: Mapping[str, Path], measure: Callable[[Path], float]
) -> Mapping[str, Callable[[], float]]:
    return {side: lambda folder=folder: measure(folder) for side, folder in folders.items()}  # type: ignore[misc]


def sequential(scene: Scene, rounds: int) -> Sequence[Result]:
    """A cached 1 GiB file, read in order, the kernel's pages of it dropped before."""
    data.big(scene.path("source"))
    folders = mounts(scene)
    samples = alternate(rounds, _sides(folders, lambda folder: load.read_file(folder / "big")))
    targets = {RCLONE: 3.0, S3FS: 1.2}
    return [Result("mount: read of a cached 1 GiB file", "s", "less", samples, targets)]


def small(scene: Scene, rounds: int) -> Sequence[Result]:
    """Open, read and close each of 1,000 warm 4 KiB files."""
    names = data.small(scene.path("source"))
    folders = mounts(scene)

    def timed(folder: Path) -> float:
        return load.read_files([folder / name for name in names])

    samples = alternate(rounds, _sides(folders, timed))
    return [
        Result(
            "mount: open, read, close of 1,000 warm 4 KiB files",
            "s",
            "less",
            samples,
            {RCLONE: 1.5, S3FS: 0.0},
        )
    ]
