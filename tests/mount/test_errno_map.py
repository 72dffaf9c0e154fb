"""Every domain error has an errno."""

from __future__ import annotations

import errno

import pytest

from appliance.model import errors
from appliance.mount.errno_map import ERRNO, errno_of, errno_of_os_error

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ApplianceError)
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_domain_error_has_a_row_of_its_own(kind):
    assert kind in ERRNO
    assert ERRNO[kind] in errno.errorcode
    assert errno_of(kind()) == ERRNO[kind]


def test_no_row_is_for_nothing():
    assert set(ERRNO) == set(ALL)


def test_a_subclass_of_a_plugin_has_the_errno_of_its_base():
    class Full(errors.StorageFullError):
        pass

    assert errno_of(Full()) == errno.ENOSPC


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (errno.ENOSPC, errno.ENOSPC),
        (errno.EDQUOT, errno.EDQUOT),
        (errno.EBADF, errno.EIO),
        (errno.ENOENT, errno.EIO),
    ],
)
def test_the_staging_disk_may_say_that_it_is_full(given, told):
    assert errno_of_os_error(OSError(given, "")) == told
