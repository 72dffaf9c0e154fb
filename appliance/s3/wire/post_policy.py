"""The policy document of a browser upload: what its signer allows to be uploaded. Parsed, then checked against the form's fields.

A policy is signed by somebody with keys and carried out by somebody without, so everything that a form says must be in it: a field that no
condition names is refused, and so is a condition, or an element of the document, that is not understood.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.s3.wire.errors import PolicyDocumentError, PolicyRefusedError

_CONDITIONS_MAX = 256
_EXPIRATION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z\Z", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}\Z", re.ASCII)
# What is about the policy itself.
_FREE = frozenset({"policy", "x-amz-signature", "awsaccesskeyid", "signature"})
EQUALS, STARTS_WITH, LENGTH = "eq", "starts-with", "content-length-range"


class Condition(msgspec.Struct, frozen=True):
    """`operator` is EQUALS or STARTS_WITH; `name` of a field, lower-case."""

    operator: str
    name: str
    value: str

    def __str__(self) -> str:
        return json.dumps([self.operator, f"${self.name}", self.value])


class PostPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_s` since the epoch; sizes of the file in bytes, `size_max` None where there is no limit."""

    expires_s: float
    conditions: tuple[Condition, ...]
    size_min: int = 0
    size_max: int | None = None

    def check(self, fields: Mapping[str, str], bucket: str, now_s: float) -> None:
        """Raise PolicyRefusedError unless these fields (names lower-case, the key with its file name in it) may be uploaded to `bucket`.

        The size is for whoever counts the bytes.
        """
        if now_s > self.expires_s:
            raise PolicyRefusedError("Invalid according to Policy: Policy expired.")
        # The bucket is what the URL names, whatever a field says.
        given = {**fields, "bucket": bucket}
        for condition in self.conditions:
            if not _holds(condition, given):
                raise PolicyRefusedError(
                    f"Invalid according to Policy: Policy Condition failed: {condition}"
                )
        named = {condition.name for condition in self.conditions}
        extra = [name for name in fields if name not in named and name not in _FREE]
        if extra:
            raise PolicyRefusedError(
                f"Invalid according to Policy: Extra input fields: {', '.join(sorted(extra))}"
            )


def parse_policy(encoded: str) -> PostPolicy:
    """The policy in base64, as the field holds it. Raises PolicyDocumentError."""
    try:
        document = json.loads(base64.b64decode(encoded, validate=True), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise PolicyDocumentError("Invalid Policy: Invalid JSON.") from None
    if not isinstance(document, dict):
        raise PolicyDocumentError("Invalid Policy: Invalid JSON.")
    for name in ("expiration", "conditions"):
        if name not in document:
            raise PolicyDocumentError(f"Invalid Policy: Policy missing {name}.")
    unknown = document.keys() - {"expiration", "conditions"}
    if unknown:
        raise PolicyDocumentError(f"Invalid Policy: Unexpected: '{min(unknown)}'.")
    items = document["conditions"]
    if not isinstance(items, list) or len(items) > _CONDITIONS_MAX:
        raise PolicyDocumentError("Invalid Policy: Invalid 'conditions' value: must be a List.")
    ranges = [_length_range(item) for item in items if _operator(item) == LENGTH]
    return PostPolicy(
        expires_s=_expiration(document["expiration"]),
        conditions=tuple(_condition(item) for item in items if _operator(item) != LENGTH),
        # Of several ranges all must hold.
        size_min=max((low for low, _ in ranges), default=0),
        size_max=min((high for _, high in ranges), default=None),
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _operator(item: object) -> str:
    """Lower-case; "" for the short form `{"name": "value"}`."""
    if isinstance(item, list) and item and isinstance(item[0], str):
        return item[0].lower()
    return ""


def _condition(item: object) -> Condition:
    if isinstance(item, dict):
        if len(item) != 1:
            raise PolicyDocumentError(
                "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."
            )
        [(name, value)] = item.items()
        operator, given = EQUALS, name
    else:
        operator = _operator(item)
        if operator not in {EQUALS, STARTS_WITH}:
            raise PolicyDocumentError("Invalid Policy: Invalid Condition: unknown operation.")
        if not isinstance(item, list) or len(item) != 3:
            raise PolicyDocumentError(
                "Invalid Policy: Invalid Condition: wrong number of arguments."
            )
        _, given, value = item
        if not isinstance(given, str) or not given.startswith("$"):
            raise PolicyDocumentError("Invalid Policy: Invalid Condition: no field is named.")
        given = given[1:]
    if not isinstance(value, str) or not given:
        raise PolicyDocumentError("Invalid Policy: Invalid Condition: the value must be a text.")
    return Condition(operator, given.lower(), value)


def _length_range(item: Any) -> tuple[int, int]:
    numbers = [_number(value) for value in item[1:]]
    if len(numbers) != 2:
        raise PolicyDocumentError(
            "Invalid Policy: Invalid content-length-range: wrong number of arguments."
        )
    return numbers[0], numbers[1]


def _number(value: object) -> int:
    """Forms have them as numbers or as text."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _NUMBER.match(text):
        raise PolicyDocumentError("Invalid Policy: Invalid content-length-range: not a size.")
    return int(text)


def _expiration(value: object) -> float:
    if isinstance(value, str) and _EXPIRATION.match(value):
        try:
            moment = datetime.strptime(value[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
            return moment.timestamp()
        except ValueError:
            pass
    raise PolicyDocumentError(f"Invalid Policy: Invalid 'expiration' value: {value!r}.")


def _holds(condition: Condition, fields: Mapping[str, str]) -> bool:
    value = fields.get(condition.name)
    if value is None:
        return False
    if condition.operator == EQUALS:
        return value == condition.value
    if condition.name == "content-type":
        # A list of types: each of them must begin so.
        return all(item.strip().startswith(condition.value) for item in value.split(","))
    return value.startswith(condition.value)
