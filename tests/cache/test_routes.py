from unittest import mock

import pytest

from appliance.cache.routes import Route, Routes
from appliance.model.errors import NoSuchBucketError
from appliance.plugin import Capabilities
from appliance.policy.buckets import BucketPolicy


def backend(**capabilities):
    return mock.Mock(capabilities=Capabilities(**capabilities))


def test_the_first_pattern_that_matches_wins():
    logs, rest = backend(), backend()
    routes = Routes(
        [Route("logs-*", logs, BucketPolicy()), Route("*", rest, BucketPolicy())],
    )
    assert routes.find("logs-2024").backend is logs
    assert routes.find("data").backend is rest
    assert routes.find("data").backend is rest
    assert not routes.holds("logs-1", rest)
    assert routes.holds("logs-1", logs)
    assert routes.backends == [logs, rest]


def test_a_bucket_that_no_pattern_matches_does_not_exist():
    with pytest.raises(NoSuchBucketError, match="'data'"):
        Routes([Route("logs-*", backend(), BucketPolicy())]).find("data")


def test_made_up_bucket_names_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("appliance.cache.routes._REMEMBERED_MAX", 10)
    routes = Routes([Route("*", backend(), BucketPolicy())])
    for number in range(100):
        routes.find(f"bucket-{number}")
    assert len(routes._remembered) <= 10


def test_default_freshness_follows_the_cost_of_validation():
    assert Route("*", backend(cheap_validation=True), BucketPolicy()).freshness_s == 0
    assert Route("*", backend(), BucketPolicy()).freshness_s == 60
    assert Route("*", backend(), BucketPolicy(freshness_s=5)).freshness_s == 5
