"""Secrets at rest: sealed with AES-256-GCM under a key that follows from the cluster secret, which all nodes of a cluster share.

The cluster secret comes from the environment (APPLIANCE_CLUSTER_SECRET), else from the configuration, else from a file in the data
directory that is made on first start. It says nothing about its node: copied to another one, it opens there what was sealed here.

A sealed secret is `version (1 byte) | nonce (12) | ciphertext and tag`. What it belongs to is authenticated with it: moved to another
access key or account, it does not open. Nonces are random: with 96 bits, 2^32 secrets may be sealed before a repetition becomes likely
(NIST SP 800-38D, section 8.3), and each key and its rotations are one.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.auth import private_file
from appliance.model.errors import ConfigError

SECRET_VARIABLE = "APPLIANCE_CLUSTER_SECRET"  # noqa: S105  # a name, not a secret
FILE_NAME = "cluster-secret"

_SHAPE = re.compile(r"[\x21-\x7e]{32,1024}\Z")
_VERSION = b"\x01"
_NONCE_BYTES = 12


class UnsealError(ConfigError):
    """A sealed secret does not open with this cluster secret."""


class Sealer:
    """Seals and opens short secrets. `owner` names what the secret belongs to."""

    def __init__(self, cluster_secret: str, token_bytes: Callable[[int], bytes]) -> None:
        key = hmac.digest(cluster_secret.encode(), b"appliance sealed secrets", "sha256")
        self._cipher = AESGCM(key)
        self._token_bytes = token_bytes

    def seal(self, secret: str, owner: str) -> bytes:
        nonce = self._token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), owner.encode())

    def open(self, sealed: bytes, owner: str) -> str:
        """Raises UnsealError."""
        if not sealed.startswith(_VERSION):
            raise UnsealError("A secret was sealed by a newer version of the appliance.")
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, rest, owner.encode()).decode()
        except (InvalidTag, ValueError):
            raise UnsealError("A secret was sealed with another cluster secret.") from None


def check_secret(secret: str, source: str) -> str:
    """The secret. Raises ConfigError, naming `source`, where it is too weak or cannot be typed."""
    if not _SHAPE.match(secret):
        raise ConfigError(
            f"{source}: the cluster secret must be 32 to 1,024 printable ASCII characters without spaces;"
            " `openssl rand -hex 32` makes one."
        )
    return secret


def from_environment(environment: Mapping[str, str]) -> str | None:
    """None if the variable is not set. Raises ConfigError."""
    secret = environment.get(SECRET_VARIABLE, "")
    return check_secret(secret, SECRET_VARIABLE) if secret else None


def load_or_create(directory: Path, token_bytes: Callable[[int], bytes]) -> str:
    """The cluster secret kept in `directory`, made there on first use. Raises ConfigError, OSError."""
    path = directory / FILE_NAME
    if not path.exists():
        private_file.publish(path, token_bytes(32).hex().encode() + b"\n", token_bytes)
    return check_secret(private_file.read(path).decode("latin-1").strip(), str(path))
