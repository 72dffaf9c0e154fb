"""Domain errors to errno: one total table, looked up by class, then by its bases. The rows say what a program should think happened.

Sources: the ERRORS sections of open(2), rename(2), setxattr(2), mkdir(2); `EIO` is for what no program can do anything about.
"""

from __future__ import annotations

import errno
import logging

from appliance.model import errors as e

log = logging.getLogger(__name__)

ERRNO: dict[type[e.ApplianceError], int] = {
    e.ApplianceError: errno.EIO,
    # What was asked for does not exist, or exists already.
    e.NoSuchBucketError: errno.ENOENT,
    e.NoSuchKeyError: errno.ENOENT,
    e.DeletedKeyError: errno.ENOENT,
    e.NoSuchVersionError: errno.ENOENT,
    e.DeleteMarkerError: errno.ENOENT,
    e.NoSuchUploadError: errno.ENOENT,
    e.NoSuchTagSetError: errno.ENODATA,
    e.BucketExistsError: errno.EEXIST,
    e.BucketNotEmptyError: errno.ENOTEMPTY,
    # Conditions: the mount's only one is "nothing there yet", for O_EXCL.
    e.PreconditionFailedError: errno.EEXIST,
    e.NotModifiedError: errno.EIO,
    e.ConflictError: errno.EBUSY,
    e.VersionChangedError: errno.ESTALE,
    # The request itself is wrong.
    e.InvalidBucketNameError: errno.EINVAL,
    e.InvalidKeyError: errno.EINVAL,
    e.KeyTooLongError: errno.ENAMETOOLONG,
    e.InvalidArgumentError: errno.EINVAL,
    e.InvalidRangeError: errno.EINVAL,
    e.InvalidPartError: errno.EIO,
    e.InvalidPartOrderError: errno.EIO,
    e.EntityTooSmallError: errno.EIO,
    e.EntityTooLargeError: errno.EFBIG,
    e.MetadataTooLargeError: errno.E2BIG,
    e.InvalidTagError: errno.EINVAL,
    # The bytes are wrong.
    e.BadDigestError: errno.EIO,
    e.ChecksumMismatchError: errno.EIO,
    e.PayloadHashMismatchError: errno.EIO,
    e.IncompleteBodyError: errno.EIO,
    # May not.
    e.AccessDeniedError: errno.EACCES,
    e.ReadOnlyError: errno.EROFS,
    # Cannot, now or ever.
    e.UnsupportedError: errno.EOPNOTSUPP,
    e.BackendUnavailableError: errno.EIO,
    e.BackendTimeoutError: errno.EIO,
    e.BackendDeniedError: errno.EACCES,
    e.BackendError: errno.EIO,
    e.StorageFullError: errno.ENOSPC,
    e.JournalFullError: errno.ENOSPC,
    e.SlowDownError: errno.EBUSY,
    e.CorruptDataError: errno.EIO,
    e.RegisterConflictError: errno.EBUSY,
    # The operator's side: not met while mounted.
    e.ConfigError: errno.EINVAL,
    e.PluginError: errno.EIO,
    e.JournalError: errno.EIO,
    e.MountError: errno.EIO,
}
# What a full or failing staging disk may tell a program as it is; everything else of it is EIO.
_STAGING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


def errno_of(error: e.ApplianceError) -> int:
    """The errno for a domain error; that of its nearest base where a subclass has no row."""
    for kind in type(error).__mro__:
        number = ERRNO.get(kind)
        if number is not None:
            return number
    return errno.EIO


def errno_of_os_error(error: OSError) -> int:
    """The errno for an error of the staging or cache disk."""
    return error.errno if error.errno in _STAGING else errno.EIO


def errno_of_any(error: BaseException) -> int:
    """The errno for whatever was raised."""
    if isinstance(error, e.ApplianceError):
        return errno_of(error)
    return errno_of_os_error(error) if isinstance(error, OSError) else errno.EIO
