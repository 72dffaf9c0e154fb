import pytest

from tests.support.cache_stack import FaultyBackend


@pytest.fixture(params=["iterated", "drained"])
def each_way(request, monkeypatch):
    """The backend's bytes come each way that a stream has."""
    monkeypatch.setattr(FaultyBackend, "drains", request.param == "drained")
