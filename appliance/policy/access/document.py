"""A bucket policy: JSON in AWS's language, understood in full or refused, and then asked which statements are about a request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
Deliberately absent, and refused: policy variables (`${...}`), principals that are services or federations (there are none here), resources
of other buckets. Actions that S3 has and this product has not are accepted: they are never asked for.

Principals are accounts: a canonical id, `arn:aws:iam::ID:root`, or `arn:aws:iam:::user/NAME`. Names are resolved when the policy is put and
stored as ids beside the document: whoever gets a freed name later gets nothing of what was granted to its former holder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import msgspec

from appliance.policy.access.actions import ACTIONS, matching_actions
from appliance.policy.access.conditions import Condition, RequestKeys, parse_conditions
from appliance.policy.access.errors import MalformedPolicyError
from appliance.policy.access.patterns import PATTERN_CHARS_MAX, matcher, searched_chars

POLICY_BYTES_MAX = 20 * 1024
_STATEMENTS_MAX = 500
# Per policy: each costs a step per character of the text that is matched.
_SEARCHED_CHARS_MAX = 256
_VERSIONS = frozenset({"2008-10-17", "2012-10-17"})
_TOP = frozenset({"Version", "Id", "Statement"})
_STATEMENT = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
_ARN = "arn:aws:s3:::"
# IAM has letters and digits only; policies of S3 in the wild have sentences there. It goes to the log.
_SID = re.compile(r"[ -~]{0,256}\Z")
_IAM_ARN = re.compile(r"arn:aws:iam::([^:*?]{0,128}):(root|user/([^:*?]{1,256}))\Z")

# From the name of an account, or its canonical id, to its canonical id; "" if there is none.
Resolve = Callable[[str], str]


class Who(msgspec.Struct, frozen=True):
    """`Principal` or (negated) `NotPrincipal`. Who sends no credentials is "", whom only everybody includes."""

    everybody: bool
    accounts: frozenset[str] = frozenset()
    negated: bool = False

    def includes(self, account_id: str) -> bool:
        return (self.everybody or account_id in self.accounts) is not self.negated


class Statement(msgspec.Struct, frozen=True):
    """One statement. `resources` are patterns of `bucket` or `bucket/key`."""

    allow: bool
    who: Who
    actions: frozenset[str]
    resources: tuple[Callable[[str], object], ...]
    other_resources: bool  # NotResource
    conditions: tuple[Condition, ...]
    sid: str

    def applies(
        self,
        action: str,
        resource: str,
        keys: RequestKeys,
        held: MutableMapping[Condition, bool] | None = None,
    ) -> bool:
        """To a request of somebody whom it is about. `held`: see `Facts`. Raises TooLongError."""
        return (
            action in self.actions
            and any(fits(resource) for fits in self.resources) is not self.other_resources
            and all(condition.holds_once(keys, held) for condition in self.conditions)
        )

    @property
    def public(self) -> bool:
        """Whether it gives something to everybody."""
        if not self.allow or not self.who.everybody:
            return False
        return not any(condition.narrow and not condition.negated for condition in self.conditions)


class Policy:
    """A parsed policy. `document` is what was put, byte for byte; `principals` what its names were resolved to."""

    def __init__(
        self, document: bytes, principals: Mapping[str, str], statements: Sequence[Statement]
    ) -> None:
        self.document = document
        self.principals = dict(principals)
        self.statements = tuple(statements)
        self.public = any(statement.public for statement in statements)
        self._keys = frozenset(
            condition.key for statement in statements for condition in statement.conditions
        )
        self._about: dict[str, tuple[tuple[Statement, ...], tuple[Statement, ...]]] = {}

    def about(self, account_id: str) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
        """The statements that deny, and those that allow, something to this account."""
        found = self._about.get(account_id)
        if found is None:
            mine = [one for one in self.statements if one.who.includes(account_id)]
            denying = tuple(one for one in mine if not one.allow)
            found = denying, tuple(one for one in mine if one.allow)
            if len(self._about) >= _REMEMBERED_MAX:
                self._about.clear()
            self._about[account_id] = found
        return found

    def asks(self, prefix: str) -> bool:
        """Whether a condition is about a key with this prefix."""
        return any(key.startswith(prefix) for key in self._keys)

    def encode(self) -> bytes:
        """For the store: `load_policy` reads it."""
        return msgspec.msgpack.encode(_Stored(self.document, self.principals))


_REMEMBERED_MAX = 4096


class _Stored(msgspec.Struct):
    document: bytes
    principals: dict[str, str]


def parse_policy(document: bytes, bucket: str, resolve: Resolve) -> Policy:
    """A policy that somebody puts on `bucket`. Raises MalformedPolicyError with what is wrong with it."""
    if len(document) > POLICY_BYTES_MAX:
        raise MalformedPolicyError("Policy is too large: 20 KB are allowed.")
    if not document.lstrip().startswith(b"{"):
        raise MalformedPolicyError
    try:
        tree = json.loads(
            document.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
        # "\\ud800" is JSON and half a character: no request has it, and nothing that is said about it could be written.
        json.dumps(tree, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise MalformedPolicyError("This policy contains invalid Json") from None
    if sum(map(searched_chars, _strings(tree))) > _SEARCHED_CHARS_MAX:
        raise MalformedPolicyError("Policy has too many characters beside ? between two *.")
    principals: dict[str, str] = {}
    statements = [_statement(element, bucket, resolve, principals) for element in _top(tree)]
    return Policy(document, principals, statements)


def load_policy(stored: bytes, bucket: str) -> Policy:
    """What `Policy.encode` gave. Principals are those it was put with. Raises MalformedPolicyError, msgspec.MsgspecError."""
    found = msgspec.msgpack.decode(stored, type=_Stored)
    return parse_policy(found.document, bucket, lambda name: found.principals.get(name, ""))


def deny_all() -> Policy:
    """Stands for a policy that cannot be read any more: nobody gets anything until it is put again."""
    everything = (matcher("*"),)
    return Policy(
        b"",
        {},
        [Statement(False, Who(everybody=True), ACTIONS, everything, False, (), "unreadable")],
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedPolicyError("A name occurs twice in one object of this policy.")
    return found


def _strings(tree: Any) -> Iterator[str]:
    """All but the names of fields."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, list | dict):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _strings(part)


def _refuse_constant(_name: str) -> None:
    raise MalformedPolicyError("This policy contains invalid Json")


def _top(tree: dict[str, Any]) -> list[Any]:
    for name in tree:
        if name not in _TOP:
            raise MalformedPolicyError(f"Unknown field {name[:64]}")
    version = tree.get("Version", "2008-10-17")
    if not isinstance(version, str) or version not in _VERSIONS:
        raise MalformedPolicyError("The policy must contain a valid version string")
    if not isinstance(tree.get("Id", ""), str):
        raise MalformedPolicyError("Id must be a text.")
    statements = tree.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not 0 < len(statements) <= _STATEMENTS_MAX:
        raise MalformedPolicyError("Missing required field Statement")
    return statements


def _statement(
    element: Any, bucket: str, resolve: Resolve, principals: dict[str, str]
) -> Statement:
    if not isinstance(element, dict):
        raise MalformedPolicyError("A statement must be an object.")
    for name in element:
        if name not in _STATEMENT:
            raise MalformedPolicyError(f"Unknown field {name[:64]}")
    effect = element.get("Effect")
    if not isinstance(effect, str) or effect not in {"Allow", "Deny"}:
        raise MalformedPolicyError(f"Invalid effect: {str(effect)[:64]}")
    sid = element.get("Sid", "")
    if not isinstance(sid, str) or not _SID.match(sid):
        raise MalformedPolicyError("Sid must be a text of up to 256 printable ASCII characters.")
    if effect == "Allow" and "NotPrincipal" in element:
        # It would give to all the world but some, which nobody means.
        raise MalformedPolicyError("Allow with NotPrincipal is not allowed.")
    resources, other_resources = _resources(element, bucket)
    return Statement(
        effect == "Allow",
        _who(element, resolve, principals),
        _actions(element),
        resources,
        other_resources,
        parse_conditions(element.get("Condition", {})),
        sid,
    )


def _one_of(element: Mapping[str, Any], name: str) -> tuple[Any, bool]:
    """The element of that name, or the one that says Not before it, and whether it does."""
    if (name in element) is (f"Not{name}" in element):
        raise MalformedPolicyError(f"Missing required field {name}")
    return (element[name], False) if name in element else (element[f"Not{name}"], True)


def _texts(element: Any, what: str) -> list[str]:
    texts = element if isinstance(element, list) else [element]
    if not texts or not all(
        isinstance(text, str) and 0 < len(text) <= PATTERN_CHARS_MAX for text in texts
    ):
        raise MalformedPolicyError(f"Policy has invalid {what}")
    return texts


def _actions(element: Mapping[str, Any]) -> frozenset[str]:
    patterns, negated = _one_of(element, "Action")
    found: set[str] = set()
    for pattern in _texts(patterns, "action"):
        named = matching_actions(pattern)
        if not named:
            raise MalformedPolicyError("Policy has invalid action")
        found |= named
    return ACTIONS - found if negated else frozenset(found)


def _resources(
    element: Mapping[str, Any], bucket: str
) -> tuple[tuple[Callable[[str], object], ...], bool]:
    patterns, negated = _one_of(element, "Resource")
    found = []
    for pattern in _texts(patterns, "resource"):
        if "${" in pattern:
            raise MalformedPolicyError("Policy variables are not supported here.")
        if pattern != "*" and not pattern.startswith(_ARN):
            raise MalformedPolicyError("Policy has invalid resource")
        name = pattern.removeprefix(_ARN)
        if not matcher(name.partition("/")[0])(bucket):
            raise MalformedPolicyError("Policy has invalid resource")
        found.append(matcher(name))
    return tuple(found), negated


def _who(element: Mapping[str, Any], resolve: Resolve, principals: dict[str, str]) -> Who:
    given, negated = _one_of(element, "Principal")
    if given == "*":
        return Who(True, negated=negated)
    if not isinstance(given, dict) or not given or not set(given) <= {"AWS", "CanonicalUser"}:
        raise MalformedPolicyError("Invalid principal in policy")
    everybody, accounts = False, set()
    for kind, names in given.items():
        for name in _texts(names, "principal"):
            if name == "*" and kind == "AWS":
                everybody = True
            else:
                accounts.add(_account(name, resolve, principals))
    return Who(everybody, frozenset(accounts), negated)


def _account(name: str, resolve: Resolve, principals: dict[str, str]) -> str:
    """The canonical id behind a principal; noted in `principals`. Raises MalformedPolicyError where nobody is."""
    plain = name
    match = _IAM_ARN.match(name)
    if match is not None:
        account, kind, user = match.groups()
        plain = account if kind == "root" else user.rpartition("/")[2]
    found = principals.get(plain) or resolve(plain)
    if not found:
        raise MalformedPolicyError(
            "Invalid principal in policy",
        )
    principals[plain] = found
    return found
