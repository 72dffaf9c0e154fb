"""From errno to domain errors: the one table."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.model.errors import (
    ApplianceError,
    BackendDeniedError,
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    InvalidKeyError,
    KeyTooLongError,
    StorageFullError,
)

_SENTENCES: dict[int, tuple[type[ApplianceError], str]] = {
    errno.ENOSPC: (
        StorageFullError,
        "There is no space left on the filesystem behind this bucket.",
    ),
    errno.EDQUOT: (StorageFullError, "The disk quota behind this bucket is used up."),
    errno.EFBIG: (StorageFullError, "The filesystem behind this bucket refuses a file this large."),
    errno.EMLINK: (StorageFullError, "A directory behind this bucket has too many entries."),
    errno.EACCES: (BackendDeniedError, "The filesystem denied the appliance access."),
    errno.EPERM: (BackendDeniedError, "The filesystem did not permit this to the appliance."),
    errno.EROFS: (BackendDeniedError, "The filesystem behind this bucket is mounted read-only."),
    errno.ENAMETOOLONG: (KeyTooLongError, "A part of the key is too long for this filesystem."),
    errno.EILSEQ: (InvalidKeyError, "The filesystem does not take the bytes of this key."),
    errno.EIO: (BackendUnavailableError, "The filesystem reported an input/output error."),
    errno.ESTALE: (BackendUnavailableError, "The filesystem lost a file handle; please retry."),
    errno.ENOTCONN: (BackendUnavailableError, "The filesystem is not connected."),
    errno.ESHUTDOWN: (BackendUnavailableError, "The filesystem was shut down."),
    errno.EHOSTDOWN: (BackendUnavailableError, "The host of the filesystem is down."),
    errno.ENXIO: (BackendUnavailableError, "The device of the filesystem is gone."),
    errno.ENODEV: (BackendUnavailableError, "The device of the filesystem is gone."),
    errno.ENOLCK: (BackendUnavailableError, "The filesystem has no locks to give."),
    errno.EMFILE: (BackendUnavailableError, "The appliance has too many files open."),
    errno.ENFILE: (BackendUnavailableError, "The system has too many files open."),
    errno.ENOMEM: (BackendUnavailableError, "The system is out of memory."),
    errno.EAGAIN: (BackendUnavailableError, "The filesystem is busy; please retry."),
    errno.EBUSY: (BackendUnavailableError, "The filesystem is busy; please retry."),
    errno.EDEADLK: (BackendUnavailableError, "The filesystem refused a lock; please retry."),
    errno.EXDEV: (
        BackendError,
        "A directory of this bucket is on another filesystem; the root of a posix backend must be on one.",
    ),
    errno.EOPNOTSUPP: (
        BackendError,
        "The filesystem behind this bucket lacks something that its root's has; the root of a posix backend must be on one.",
    ),
    errno.ETIMEDOUT: (BackendTimeoutError, "The filesystem did not answer in time."),
}


def domain_error(error: OSError, bucket: str = "", key: str = "") -> ApplianceError:
    """The domain error that says what `error` means here. Messages name no path of the server."""
    code = error.errno or 0
    kind, sentence = _SENTENCES.get(
        code, (BackendError, f"The filesystem answered {errno.errorcode.get(code, code)}.")
    )
    return kind(sentence, bucket=bucket, key=key)


@contextmanager
def translated(bucket: str = "", key: str = "") -> Iterator[None]:
    """Let no OSError out."""
    try:
        yield
    except OSError as error:
        raise domain_error(error, bucket, key) from error
