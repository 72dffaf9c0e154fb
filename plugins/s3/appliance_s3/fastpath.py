"""GetObject and HeadObject without what boto3 does anew for each call: 0.15 ms of CPU instead of 1.5 ms for a small object.

boto3 prepares the first call of each bucket and operation, and we look on: where its request goes, which headers it carries, how it is
signed and which checksums it would compare depend on the bucket and the settings, not on the key. We put the key into that URL, sign
it (signing.py) with the session's credentials, which refresh themselves, and send it over connections of our own (http.py). Whatever is
unusual is left to boto3: a proxy, another signature than version 4, a parameter not known here, an answer that sends us elsewhere.

Errors are those that boto3 raises: botocore's parser reads them, and those of connections are named as botocore names them.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import SplitResult, urlsplit

import botocore.exceptions as boto
import msgspec
from botocore.httpsession import get_cert_path
from botocore.parsers import create_parser
from botocore.utils import get_environ_proxies, percent_encode

from appliance.model.checksums import DIGEST_BYTES
from appliance_s3.bodies import FastBody, as_boto
from appliance_s3.http import Answer, AnswerError, Pool
from appliance_s3.requests import EXTRA_HEADERS
from appliance_s3.settings import Settings
from appliance_s3.signing import Scope, sign

METHODS = {"GetObject": "GET", "HeadObject": "HEAD"}
# Beyond these boto3 does it. A bucket costs about 1 KiB here; a host, which may be one bucket's, costs connections.
TEMPLATES_MAX = 10_000
HOSTS_MAX = 100
_KNOWN = {"Bucket", "Key", "Range", "ChecksumMode", EXTRA_HEADERS}
# Answers that may mean that the bucket lies in another region: statuses, and codes ("400" is that of an answer without a body, to HEAD).
_ELSEWHERE = (301, 302, 307, "AuthorizationHeaderMalformed", "PermanentRedirect", "400")
# Where a call's context keeps what it was called with.
_CALL = "_Call"
# Of an error's body.
_ERROR_BYTES_MAX = 256 << 10
_PORTS = {"http": 80, "https": 443}


class _Template(msgspec.Struct, frozen=True):
    """What the requests of one operation on one bucket have in common. `path` is that of the URL, up to the key."""

    pool: Pool
    path: str
    headers: dict[str, str]
    scope: Scope
    algorithms: list[str]


# Operation, bucket, whether a checksum is asked for, whether only a part is.
_Kind = tuple[str, str, bool, bool]


def _kind(operation: str, parameters: dict[str, Any]) -> _Kind:
    asked = ("ChecksumMode" in parameters, "Range" in parameters)
    return (operation, parameters["Bucket"], *asked)


def _take_parameters(
    params: dict[str, Any], model: Any, context: dict[str, Any], **_: object
) -> None:
    """Set aside what the caller gave, before boto3 adds to it."""
    context[_CALL] = (_kind(model.name, params), params["Key"])


class FastReads:
    """Makes boto3's calls `get_object` and `head_object`, in threads; `client` is boto3's."""

    def __init__(
        self, client: Any, credentials: Any, settings: Settings, now_ns: Callable[[], int]
    ) -> None:
        self._client = client
        self._now_ns = now_ns
        self._credentials = credentials
        self._templates: dict[_Kind, _Template] = {}
        self._models = {name: client.meta.service_model.operation_model(name) for name in METHODS}
        self._parser = create_parser("rest-xml")
        self._pools: dict[str, Pool] = {}
        self._learning = threading.Lock()
        self._here = threading.local()
        self._settings = settings
        self._tls = _tls_context(settings)
        for name in METHODS:
            client.meta.events.register(f"provide-client-params.s3.{name}", _take_parameters)
            client.meta.events.register(f"before-call.s3.{name}", self._learn)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def get_object(self, **parameters: Any) -> dict[str, Any]:
        return self._call("GetObject", parameters, self._client.get_object)

    def head_object(self, **parameters: Any) -> dict[str, Any]:
        return self._call("HeadObject", parameters, self._client.head_object)

    def _call(self, operation: str, parameters: dict[str, Any], slow: Any) -> dict[str, Any]:
        known = _kind(operation, parameters)
        if not parameters.keys() <= _KNOWN:
            return slow(**parameters)  # type: ignore[no-any-return]  # boto3's
        template = self._templates.get(known)
        if template is None:
            answered = self._learn_by(slow, parameters)
            template = self._templates.get(known)
            if template is None:
                return answered
        got = self._send(operation, template, parameters)
        if got.status >= 300:
            self._raise(operation, got, template.pool.host)
            # The bucket lies in another region: boto3 knows how to find it.
            self._templates.pop(known, None)
            return slow(**parameters)  # type: ignore[no-any-return]  # the same
        answer: dict[str, Any] = {
            "ResponseMetadata": {"HTTPStatusCode": got.status, "HTTPHeaders": got.headers}
        }
        if "etag" in got.headers:
            answer["ETag"] = got.headers["etag"]
        if operation == "GetObject":
            expected = _expected_checksum(got.headers, template.algorithms)
            answer["Body"] = FastBody(got, template.pool.host, expected)
        return answer

    # --- learning ----------------------------------------------------------------------------------------------------

    def _learn_by(self, slow: Any, parameters: dict[str, Any]) -> dict[str, Any]:
        """Have boto3 prepare a call; it is made, and answered, only if nothing could be learnt from it."""
        self._here.learning = True
        try:
            return slow(**parameters)  # type: ignore[no-any-return]  # boto3's
        finally:
            self._here.learning = False

    def _learn(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> Any:
        """Remember what boto3 is about to send, unless it is something we could not, and have it not sent.

        What a handler of this event returns boto3 takes for the answer; its own Stubber works that way.
        """
        if getattr(self._here, "learning", False) and self._remember(params, context):
            return SimpleNamespace(status_code=200, headers={}), {"ResponseMetadata": {}}
        return None

    def _remember(self, params: dict[str, Any], context: dict[str, Any]) -> bool:
        known, given = context[_CALL]
        key = percent_encode(given, safe="/~")
        url: str = params["url"]
        signing = context.get("signing", {})
        parts = urlsplit(url)
        plain = (
            url.endswith("/" + key)
            and context.get("auth_type") == "v4"
            and "region" in signing
            and not params.get("query_string")
            and get_environ_proxies(url).get(parts.scheme) is None
            and self._credentials is not None
        )
        base = f"{parts.scheme}://{parts.netloc}"
        with self._learning:
            if not plain or not self._has_room(base):
                return False
            if base not in self._pools:
                self._pools[base] = self._make_pool(parts)
        added = {"range", *(name.lower() for name in context.get(EXTRA_HEADERS, ()))}
        headers = {name.lower(): value for name, value in params["headers"].items()}
        self._templates[known] = _Template(
            pool=self._pools[base],
            path=url[len(base) : len(url) - len(key)],
            headers={name: value for name, value in headers.items() if name not in added}
            | {"host": _host(parts.scheme, parts.netloc), "accept-encoding": "identity"},
            scope=Scope(signing["region"], signing.get("signing_name", "s3")),
            # None comes with a part; see upstream.py.
            algorithms=[]
            if "Range" in params["headers"]
            else list(context.get("checksum", {}).get("response_algorithms", ())),
        )
        return True

    def _make_pool(self, parts: SplitResult) -> Pool:
        return Pool(
            parts.hostname or "",
            parts.port or _PORTS[parts.scheme],
            tls=self._tls if parts.scheme == "https" else None,
            idle_max=self._settings.max_connections * 2,
            connect_timeout_s=self._settings.connect_timeout_s,
            read_timeout_s=self._settings.read_timeout_s,
        )

    def _has_room(self, base: str) -> bool:
        room = base in self._pools or len(self._pools) < HOSTS_MAX
        return room and len(self._templates) < TEMPLATES_MAX

    # --- a call ------------------------------------------------------------------------------------------------------

    def _send(self, operation: str, template: _Template, parameters: dict[str, Any]) -> Answer:
        """The answer, its body still to be read."""
        path = template.path + percent_encode(parameters["Key"], safe="/~")
        headers = dict(template.headers)
        for name, value in parameters.get(EXTRA_HEADERS, {}).items():
            headers[name.lower()] = value
        if "Range" in parameters:
            headers["range"] = parameters["Range"]
        keys = self._credentials.get_frozen_credentials()
        now_s = self._now_ns() / 1e9
        method = METHODS[operation]
        headers = sign(method, path, headers, tuple(keys[:3]), template.scope, now_s)
        try:
            return template.pool.request(method, path, headers)
        except (OSError, AnswerError) as error:
            raise as_boto(error, template.pool.host) from error

    def _raise(self, operation: str, got: Answer, host: str) -> None:
        """Raise the error that this answer is; return if it only says that the bucket is elsewhere."""
        try:
            body = got.read_all(_ERROR_BYTES_MAX)
        except (OSError, AnswerError) as error:
            raise as_boto(error, host) from error
        finally:
            got.close()
        answer = {"status_code": got.status, "headers": got.headers, "body": body, "context": {}}
        parsed: Any = self._parser.parse(answer, self._models[operation].output_shape)
        if got.status not in _ELSEWHERE and parsed["Error"]["Code"] not in _ELSEWHERE:
            raise boto.ClientError(parsed, operation)


def _expected_checksum(headers: dict[str, str], algorithms: list[str]) -> tuple[str, str] | None:
    """The checksum to compare, as botocore chooses: the first of `algorithms` that came, unless it is one of checksums of parts."""
    for algorithm in algorithms:
        value = headers.get(f"x-amz-checksum-{algorithm}")
        if value and "-" not in value and algorithm in DIGEST_BYTES:
            return algorithm, value
    return None


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What boto3 would believe; None where nothing is encrypted."""
    if not (settings.endpoint_url or "https:").startswith("https:"):
        return None
    context = ssl.create_default_context(
        cafile=settings.ca_bundle or get_cert_path(True) if settings.verify else None
    )
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _host(scheme: str, netloc: str) -> str:
    """The Host header: no port where it is the usual one."""
    return netloc.removesuffix(f":{_PORTS[scheme]}")
