"""Changes for tests of the journal: short to write, and strategies that make many of them about few names."""

from __future__ import annotations

from hypothesis import strategies as st

from appliance.model.events import Change, Kind
from appliance.model.objects import ObjectInfo


def object_info(key: str = "k", version: str = "v1", size: int = 5) -> ObjectInfo:
    return ObjectInfo(key=key, size=size, etag="e-" + version, version=version, modified_ns=7)


def fill(
    key: str = "k",
    version: str = "v1",
    *,
    bucket: str = "b",
    file: str = "f1",
    complete: bool = True,
    size: int = 5,
) -> Change:
    info = object_info(key, version, size)
    detail: dict[str, object] = {"file": file, "complete": complete, "info": info}
    return Change(kind=Kind.FILL, bucket=bucket, key=key, version=version, detail=detail)


def intent(key: str = "k", *, bucket: str = "b") -> Change:
    return Change(kind=Kind.INTENT, bucket=bucket, key=key, detail={"op": "put"})


def commit(key: str = "k", version: str = "v1", *, bucket: str = "b", of: int = 0) -> Change:
    return Change(kind=Kind.COMMIT, bucket=bucket, key=key, version=version, detail={"intent": of})


def abort(key: str = "k", *, bucket: str = "b", of: int = 0) -> Change:
    return Change(kind=Kind.ABORT, bucket=bucket, key=key, detail={"intent": of})


def drop(key: str = "k", version: str = "", *, bucket: str = "b", file: str = "") -> Change:
    detail: dict[str, object] = {"reason": "test"} | ({"file": file} if file else {})
    return Change(kind=Kind.DROP, bucket=bucket, key=key, version=version, detail=detail)


def pin(key: str = "k", *, bucket: str = "b") -> Change:
    return Change(kind=Kind.PIN, bucket=bucket, key=key)


def unpin(key: str = "k", *, bucket: str = "b") -> Change:
    return Change(kind=Kind.UNPIN, bucket=bucket, key=key)


def setting(name: str, value: object) -> Change:
    return Change(kind=Kind.SETTING, bucket="", key=name, detail={"value": value})


def no_setting(name: str) -> Change:
    return Change(kind=Kind.SETTING, bucket="", key=name)


def bucket_setting(name: str, value: bytes, *, bucket: str = "b") -> Change:
    return Change(kind=Kind.BUCKET, bucket=bucket, key=name, detail={"value": value})


def no_bucket_setting(name: str, *, bucket: str = "b") -> Change:
    return Change(kind=Kind.BUCKET, bucket=bucket, key=name)


def record(kind: Kind, key: str, value: dict[str, object]) -> Change:
    """Of an account or an access key."""
    return Change(kind=kind, bucket="", key=key, detail={"value": value})


def no_record(kind: Kind, key: str) -> Change:
    return Change(kind=kind, bucket="", key=key)


# Few names, so that events meet; odd ones among them.
KEYS = st.sampled_from(["k", "a/b", "é", "\udcff", "%"])
BUCKETS = st.sampled_from(["b", "c"])
VERSIONS = st.sampled_from(["v1", "v2"])
FILES = st.sampled_from(["f1", "f2"])
RECORD_KINDS = st.sampled_from([Kind.ACCOUNT, Kind.ACCESS_KEY])

CHANGES = st.one_of(
    st.builds(intent, KEYS, bucket=BUCKETS),
    st.builds(commit, KEYS, VERSIONS | st.just(""), bucket=BUCKETS, of=st.integers(0, 40)),
    st.builds(abort, KEYS, bucket=BUCKETS, of=st.integers(0, 40)),
    st.builds(
        fill,
        KEYS,
        VERSIONS,
        bucket=BUCKETS,
        file=FILES,
        complete=st.booleans(),
        size=st.integers(0, 9),
    ),
    st.builds(drop, KEYS, VERSIONS | st.just(""), bucket=BUCKETS, file=FILES | st.just("")),
    st.builds(pin, KEYS | st.just(""), bucket=BUCKETS),
    st.builds(unpin, KEYS | st.just(""), bucket=BUCKETS),
    st.builds(setting, st.sampled_from(["s", "t"]), st.none() | st.integers(0, 3)),
    st.builds(no_setting, st.sampled_from(["s", "t"])),
    st.builds(bucket_setting, st.sampled_from(["s", "t"]), st.binary(max_size=2), bucket=BUCKETS),
    st.builds(no_bucket_setting, st.sampled_from(["s", "t", ""]), bucket=BUCKETS),
    st.builds(record, RECORD_KINDS, st.sampled_from(["s", "t"]), st.just({"n": 1}) | st.just({})),
    st.builds(no_record, RECORD_KINDS, st.sampled_from(["s", "t"])),
)
