"""Requests of S3's API that are passed on, or the honest refusal to pass anything on."""

from __future__ import annotations

from appliance.model.errors import ChecksumMismatchError, UnsupportedError
from appliance.plugin.body import Body, BytesBody
from appliance.plugin.check import expect
from appliance.plugin.check.bodies import FailingBody, ScribblingBody
from appliance.plugin.check.trial import Trial
from appliance.plugin.forwarding import ForwardAnswer, ForwardRequest

_NOTHING = BytesBody(b"")
_LARGE = 3 << 20


async def reads_what_is_there(trial: Trial) -> None:
    """GET, HEAD and ranges tell of the object what `head` and `read` tell; what is missing is an answer, not an error."""
    if not trial.can.forwarding:
        await _is_refused(trial)
        return
    data = trial.data(100)
    info = await trial.put("ü a+b", data, metadata={"x": "1"})
    answer, body = await _forwarded(trial, "GET", "ü a+b")
    expect.equal((answer.status, body, answer.size), (200, data, 100), "GET of an object")
    headers = {name.lower(): value for name, value in answer.headers}
    expect.equal(headers.get("etag"), f'"{info.etag}"', "ETag of GET")
    expect.equal(headers.get("x-amz-meta-x"), "1", "metadata of GET")
    expect.true("content-length" not in headers, "an answer's headers hold Content-Length")
    answer, body = await _forwarded(trial, "GET", "ü a+b", range="bytes=10-19")
    expect.equal((answer.status, body), (206, data[10:20]), "GET of a range")
    answer, body = await _forwarded(trial, "HEAD", "ü a+b")
    expect.equal((answer.status, body, answer.size), (200, b"", 100), "HEAD of an object")
    answer, _ = await _forwarded(trial, "GET", "none")
    expect.equal(answer.status, 404, "GET of a missing key")


async def writes_all_or_nothing(trial: Trial) -> None:
    """A body that fails at its very end changes nothing, be it small or one that streams."""
    if not trial.can.forwarding:
        await _is_refused(trial)
        return
    for size in (0, 10, _LARGE):
        data = trial.data(size)
        answer, _ = await _forwarded(trial, "PUT", "a", ScribblingBody(data))
        expect.equal(answer.status, 200, f"PUT of {size} bytes")
        await trial.holds("a", data, f"after a PUT of {size} bytes")
        error = ChecksumMismatchError("planted by the check")
        broken = FailingBody(trial.data(size), good_bytes=size, error=error)
        with expect.raises(ChecksumMismatchError, what=f"PUT of {size} bytes that fail"):
            await _forwarded(trial, "PUT", "a", broken)
        await trial.holds("a", data, f"after a PUT of {size} bytes that failed")


async def _forwarded(
    trial: Trial, method: str, name: str, body: Body = _NOTHING, **headers: str
) -> tuple[ForwardAnswer, bytes]:
    request = ForwardRequest(
        method=method, bucket=trial.bucket, key=trial.key(name), headers=headers, body=body
    )
    async with trial.backend.forward(request) as answer:
        return answer, await answer.read()


async def _is_refused(trial: Trial) -> None:
    with expect.raises(UnsupportedError, what="forward without forwarding"):
        await _forwarded(trial, "GET", "a")


CHECKS = (reads_what_is_there, writes_all_or_nothing)
