"""Room for documents: bounded for the node and for each account, given back however a request ends."""

from __future__ import annotations

import contextlib

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from appliance.s3.document_budget import SMALL_BYTES, DocumentBudget
from appliance.s3.settings import S3Settings
from appliance.s3.throttle import ThrottledError
from tests.support.s3_endpoint import running_endpoint

BIG = SMALL_BYTES + 1


def test_an_account_may_have_half_and_small_documents_always_have_room():
    budget = DocumentBudget(4 * BIG)
    with contextlib.ExitStack() as stack:
        for account in ("a", "a", "b"):
            stack.enter_context(budget.room(account, BIG))
        with pytest.raises(ThrottledError, match="of this account"), budget.room("a", BIG):
            pass
        stack.enter_context(budget.room("", BIG))
        with pytest.raises(ThrottledError, match="of this node"), budget.room("c", BIG):
            pass
        with budget.room("a", SMALL_BYTES):
            assert budget.statistics() == {
                "document_bytes": 4 * BIG,
                "documents_refused_total": 2,
            }
    assert budget.statistics()["document_bytes"] == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3 * BIG), st.booleans())))
def test_room_is_given_back_however_it_ends(requests):
    budget = DocumentBudget(6 * BIG)
    for account, size, fails in requests:
        with contextlib.suppress(ThrottledError, ValueError), budget.room(account, size):
            assert budget.statistics()["document_bytes"] in {0, size}
            if fails:
                raise ValueError
    assert budget.statistics()["document_bytes"] == 0
    for account in "ab":
        with budget.room(account, 3 * BIG):
            pass


async def test_a_document_without_room_is_told_to_come_again(tmp_path):
    objects = {"Objects": [{"Key": f"{number:0100}"} for number in range(600)]}
    small = S3Settings(documents_bytes_max=2 * BIG)
    async with running_endpoint(tmp_path, small) as endpoint:
        with pytest.raises(ClientError) as caught:
            await endpoint.call(endpoint.s3.delete_objects, Bucket="bucket", Delete=objects)
        assert caught.value.response["Error"]["Code"] == "SlowDown"
        few = {"Objects": objects["Objects"][:10]}
        answer = await endpoint.call(endpoint.s3.delete_objects, Bucket="bucket", Delete=few)
        assert len(answer["Deleted"]) == 10
        assert endpoint.endpoint.statistics()["documents_refused_total"] >= 1
