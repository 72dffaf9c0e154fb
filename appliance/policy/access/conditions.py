"""`Condition` of a statement: parsed once, with refusal of whatever is not understood, then asked at each request.

    {"<operator>": {"<key>": "<value>" or [values]}}     all operators, and all keys of each, must hold; of the values any one

An operator is a comparison, maybe behind `ForAnyValue:` or `ForAllValues:`, maybe with `IfExists` at its end. What a request does not have:
comparisons fail, those that begin with `Not` (or say Not in the middle) hold, `IfExists` holds.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.policy.access.errors import MalformedPolicyError
from appliance.policy.access.keys import ANONYMOUS_USERID, NARROWING, Kind, key_kind, of_object
from appliance.policy.access.patterns import PATTERN_CHARS_MAX, matcher

# What is known about a request: the values of a condition key (as `key_kind` spells it), none where it has none.
RequestKeys = Callable[[str], Sequence[str]]
# Whether one value of a request fits one value of the policy.
Fits = Callable[[str], object]

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?\Z")
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?\Z", re.ASCII
)
# Wider ranges of addresses are the public: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
_NARROW_BITS = {4: 8, 6: 32}


class Condition(msgspec.Struct, frozen=True, eq=False):
    """One operator with one key. `fits`: one a value of the policy. `quantifier`: "", "any" or "all". `null`: of `Null`, what it says."""

    key: str
    fits: tuple[Fits, ...] = ()
    negated: bool = False
    if_exists: bool = False
    quantifier: str = ""
    null: bool | None = None
    narrow: bool = False  # only somebody fits, not everybody

    def holds(self, keys: RequestKeys) -> bool:
        values = keys(self.key)
        if self.null is not None:
            return self.null is not bool(values)
        if not values:
            return self.if_exists or (
                self.quantifier == "all" or (self.negated and self.quantifier != "any")
            )
        if self.quantifier == "all":
            return all(self._one(value) for value in values)
        if self.negated and not self.quantifier:
            return all(self._one(value) for value in values)
        return any(self._one(value) for value in values)

    def holds_once(self, keys: RequestKeys, held: MutableMapping[Condition, bool] | None) -> bool:
        """`holds`, or what is noted in `held`, unless it may be another for another object of the same request."""
        if held is None or of_object(self.key):
            return self.holds(keys)
        if self not in held:
            held[self] = self.holds(keys)
        return held[self]

    def _one(self, value: str) -> bool:
        return any(fits(value) for fits in self.fits) is not self.negated


class _Operator(msgspec.Struct, frozen=True):
    make: Callable[[str], Fits]
    kinds: frozenset[Kind]
    negated: bool = False


# --- comparisons: from a policy's value to a function of a request's -------------------------------------------------


def _equals(wanted: str) -> Fits:
    return wanted.__eq__


def _equals_ignore_case(wanted: str) -> Fits:
    folded = wanted.casefold()
    # Folding makes longer, never shorter.
    return lambda value: len(value) <= len(folded) and value.casefold() == folded


def _numeric(compare: Callable[[float, float], bool]) -> Callable[[str], Fits]:
    def make(wanted: str) -> Fits:
        limit = _number(wanted)
        if limit is None:
            raise MalformedPolicyError(f"Invalid number in policy condition: {wanted[:64]}")

        def fits(value: str) -> bool:
            number = _number(value)
            return number is not None and compare(number, limit)

        return fits

    return make


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.match(text) else None


def _date(compare: Callable[[float, float], bool]) -> Callable[[str], Fits]:
    def make(wanted: str) -> Fits:
        limit = _unix_s(wanted)
        if limit is None:
            raise MalformedPolicyError(f"Invalid date in policy condition: {wanted[:64]}")

        def fits(value: str) -> bool:
            moment = _unix_s(value)
            return moment is not None and compare(moment, limit)

        return fits

    return make


def _unix_s(text: str) -> float | None:
    """Of an ISO 8601 date or a number of seconds; UTC where it does not say."""
    if _NUMBER.match(text):
        return float(text)
    if not _DATE.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _bool(wanted: str) -> Fits:
    lower = wanted.lower()
    if lower not in {"true", "false"}:
        raise MalformedPolicyError(f"Invalid boolean in policy condition: {wanted[:64]}")
    return lambda value: value.lower() == lower


def _address(wanted: str) -> Fits:
    network = _network(wanted)

    def fits(value: str) -> bool:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address) in network

    return fits


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise MalformedPolicyError(f"Invalid IP address in policy condition: {text[:64]}") from None


def _arn_like(wanted: str) -> Fits:
    """Each of the six fields separately: a `*` does not reach across a colon."""
    fields = wanted.split(":", 5)
    if len(fields) != 6 or fields[0] != "arn":
        raise MalformedPolicyError(f"Invalid ARN in policy condition: {wanted[:64]}")
    matchers = [matcher(field) for field in fields]

    def fits(value: str) -> bool:
        parts = value.split(":", 5)
        return len(parts) == 6 and all(fit(part) for fit, part in zip(matchers, parts, strict=True))

    return fits


_ANY = frozenset(Kind)
_TEXTS = frozenset(Kind) - {Kind.ADDRESS}
_NUMBERS = frozenset({Kind.NUMBER, Kind.DATE})  # seconds since 1970 are both


def _both(
    positive: str, negative: str, make: Callable[[str], Fits], kinds: frozenset[Kind]
) -> dict[str, _Operator]:
    return {positive: _Operator(make, kinds), negative: _Operator(make, kinds, negated=True)}


_OPERATORS: dict[str, _Operator] = {
    **_both("StringEquals", "StringNotEquals", _equals, _TEXTS),
    **_both("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", _equals_ignore_case, _TEXTS),
    **_both("StringLike", "StringNotLike", matcher, _TEXTS),
    **_both("NumericEquals", "NumericNotEquals", _numeric(lambda a, b: a == b), _NUMBERS),
    "NumericLessThan": _Operator(_numeric(lambda a, b: a < b), _NUMBERS),
    "NumericLessThanEquals": _Operator(_numeric(lambda a, b: a <= b), _NUMBERS),
    "NumericGreaterThan": _Operator(_numeric(lambda a, b: a > b), _NUMBERS),
    "NumericGreaterThanEquals": _Operator(_numeric(lambda a, b: a >= b), _NUMBERS),
    **_both("DateEquals", "DateNotEquals", _date(lambda a, b: a == b), frozenset({Kind.DATE})),
    "DateLessThan": _Operator(_date(lambda a, b: a < b), frozenset({Kind.DATE})),
    "DateLessThanEquals": _Operator(_date(lambda a, b: a <= b), frozenset({Kind.DATE})),
    "DateGreaterThan": _Operator(_date(lambda a, b: a > b), frozenset({Kind.DATE})),
    "DateGreaterThanEquals": _Operator(_date(lambda a, b: a >= b), frozenset({Kind.DATE})),
    "Bool": _Operator(_bool, frozenset({Kind.BOOL})),
    **_both("IpAddress", "NotIpAddress", _address, frozenset({Kind.ADDRESS})),
    **_both("ArnEquals", "ArnNotEquals", _arn_like, frozenset({Kind.ARN})),
    **_both("ArnLike", "ArnNotLike", _arn_like, frozenset({Kind.ARN})),
}
_NARROW_OPERATORS = frozenset(
    {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "IpAddress", "ArnEquals", "ArnLike"}
)
# Operator names are compared without case, as AWS does.
_BY_LOWER = {name.lower(): name for name in _OPERATORS}
_QUANTIFIERS = {"foranyvalue:": "any", "forallvalues:": "all"}


# --- parsing -----------------------------------------------------------------------------------------------------------


def parse_conditions(element: Any) -> tuple[Condition, ...]:
    """The conditions of one statement. Raises MalformedPolicyError."""
    if not isinstance(element, dict):
        raise MalformedPolicyError("Condition must be an object.")
    found = []
    for operator, tests in element.items():
        if not isinstance(tests, dict):
            raise MalformedPolicyError(f"Invalid Condition: {operator[:64]} must be an object.")
        found += [_parse(operator, key, values) for key, values in tests.items()]
    return tuple(found)


def _parse(spelled: str, key: str, element: Any) -> Condition:
    known = key_kind(key)
    if known is None:
        raise MalformedPolicyError(f"Policy has an invalid condition key: {key[:128]}")
    name, kind = known
    values = _values(element)
    lower = spelled.lower()
    if_exists = lower.endswith("ifexists")
    plain = lower.removesuffix("ifexists")
    quantifier = ""
    for prefix, word in _QUANTIFIERS.items():
        if plain.startswith(prefix):
            plain, quantifier = plain.removeprefix(prefix), word
    if plain == "null" and lower == "null":
        return Condition(name, null=_null(values))
    operator = _OPERATORS.get(_BY_LOWER.get(plain, ""))
    if operator is None:
        raise MalformedPolicyError(f"Invalid Condition type : {spelled[:64]}")
    if kind not in operator.kinds:
        raise MalformedPolicyError(
            f"Invalid Condition: {spelled[:64]} cannot be used with the key {key[:128]}."
        )
    return Condition(
        name,
        tuple(operator.make(value) for value in values),
        operator.negated,
        if_exists,
        quantifier,
        narrow=not if_exists and quantifier != "all" and _narrow(_BY_LOWER[plain], name, values),
    )


def _values(element: Any) -> list[str]:
    """One value or several; JSON's booleans and numbers as the text they are."""
    values = []
    for value in element if isinstance(element, list) else [element]:
        if isinstance(value, bool):
            value = "true" if value else "false"  # noqa: PLW2901
        elif isinstance(value, int | float):
            value = f"{value}"  # noqa: PLW2901
        if not isinstance(value, str) or len(value) > PATTERN_CHARS_MAX:
            raise MalformedPolicyError("Invalid value in policy condition.")
        if "${" in value:
            raise MalformedPolicyError("Policy variables are not supported here.")
        values.append(value)
    if not values:
        raise MalformedPolicyError("A policy condition has no values.")
    return values


def _null(values: Sequence[str]) -> bool:
    if len(values) != 1 or values[0].lower() not in {"true", "false"}:
        raise MalformedPolicyError("Invalid Condition: Null takes true or false.")
    return values[0].lower() == "true"


def _narrow(operator: str, key: str, values: Sequence[str]) -> bool:
    if operator not in _NARROW_OPERATORS or key not in NARROWING:
        return False
    if key == "aws:sourceip":
        networks = [_network(value) for value in values]
        return all(
            network.is_private or network.prefixlen >= _NARROW_BITS[network.version]
            for network in networks
        )
    if key == "aws:userid" and ANONYMOUS_USERID in map(str.casefold, values):
        return False
    return not any("*" in value or "?" in value for value in values)
