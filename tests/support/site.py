"""An endpoint with several accounts at it, one of which has a bucket; and policies in few words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from appliance.plugin import Backend
from appliance.s3.settings import S3Settings
from tests.support.people import ADMIN, ALICE, BOB, READER, As, people
from tests.support.s3_endpoint import ACCESS_KEY, SECRET_KEY, running_endpoint

DENIED = "AccessDenied"


class Site:
    """An endpoint with people at it. Alice has the bucket "hers", with the objects k and dir/k in it."""

    def __init__(self, url: str, log: list[bytes]) -> None:
        self.alice, self.bob, self.reader = As(url, ALICE), As(url, BOB), As(url, READER)
        self.admin, self.nobody = As(url, ADMIN), As(url, None)
        self.log = log

    async def set_policy(self, *statements: dict[str, object]) -> None:
        await self.alice.put_bucket_policy(Bucket="hers", Policy=policy(*statements))


def policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: object, resource: object = "hers/*", **more: object) -> dict[str, object]:
    return statement("Allow", action, resource, **more)


def deny(action: object, resource: object = "hers/*", **more: object) -> dict[str, object]:
    return statement("Deny", action, resource, **more)


def statement(effect: str, action: object, resource: object, **more: object) -> dict[str, object]:
    arns = [
        f"arn:aws:s3:::{one}" for one in ([resource] if isinstance(resource, str) else resource)
    ]
    return {"Effect": effect, "Principal": "*", "Action": action, "Resource": arns, **more}


@asynccontextmanager
async def at_site(directory: Path, backend: Backend | None = None) -> AsyncIterator[Site]:
    log: list[bytes] = []
    async with running_endpoint(
        directory,
        S3Settings(access_log=True),
        backend=backend,
        credentials=people(ACCESS_KEY, SECRET_KEY),
        log_write=log.append,
    ) as endpoint:
        site = Site(endpoint.url, log)
        await site.alice.create_bucket(Bucket="hers")
        for key in ("k", "dir/k"):
            await site.alice.put_object(Bucket="hers", Key=key, Body=b"data")
        yield site
