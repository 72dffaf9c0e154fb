"""Plugins are found, checked, called; a broken one is named and stops nobody else. With real distributions on sys.path."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.model.errors import ConfigError, PluginError
from appliance.model.events import Event, Kind
from appliance.plugin import hookimpl
from appliance.plugin.registry import INSTALL, BrokenPlugin, Plugins
from appliance_example.backend import MemoryBackend
from tests.support.distributions import on_path, write_distribution
from tests.support.plugin_host import backend_config

HEADER = "from appliance.plugin import hookimpl\n"
EVENT = Event(origin="n1", seq=1, hlc=1, kind=Kind.COMMIT, bucket="b", key="k")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    with on_path(tmp_path):
        yield tmp_path


def loaded() -> Plugins:
    plugins = Plugins()
    plugins.load()
    return plugins


def broken_one(plugins: Plugins, name: str) -> BrokenPlugin:
    (broken,) = [broken for broken in plugins.broken if broken.name == name]
    return broken


def test_the_shipped_example_is_found_by_its_scheme() -> None:
    backend = loaded().backend("memory://", backend_config())
    assert isinstance(backend, MemoryBackend)


def test_an_unknown_scheme_is_named_with_the_plugins_that_were_found() -> None:
    with pytest.raises(PluginError, match=r"No plugin provides tape:// backends\.") as caught:
        loaded().backend("tape://robot", backend_config())
    assert "example (cache-appliance-example 0.1.0)" in caught.value.message


@pytest.mark.parametrize(("scheme", "requirement"), INSTALL.items())
def test_a_missing_shipped_backend_comes_with_the_command_that_installs_it(
    scheme: str, requirement: str
) -> None:
    plugins = Plugins()  # nothing loaded
    with pytest.raises(PluginError) as caught:
        plugins.backend(f"{scheme}://x", backend_config())
    assert f"No plugin provides {scheme}:// backends." in caught.value.message
    assert f"pip install {requirement}" in caught.value.message


def test_a_path_instead_of_a_url_is_told_how_to_become_one() -> None:
    with pytest.raises(ConfigError, match="posix:///srv/data"):
        loaded().backend("/srv/data", backend_config())


BROKEN = {
    "unimportable": ("import no_such_module_anywhere\n", "no_such_module_anywhere"),
    "syntax": ("def broken(:\n", "SyntaxError"),
    "exits": ("raise SystemExit(3)\n", "SystemExit"),
    "argument": (
        HEADER + "@hookimpl\ndef appliance_backend(url, colour): return None\n",
        "colour",
    ),
    "nohook": (HEADER + "@hookimpl\ndef appliance_teleport(url): return None\n", "teleport"),
    "empty": ("", "implements no hook"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named_with_its_distribution_and_cause_and_stops_nobody(
    site: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, cause = BROKEN[name]
    write_distribution(site, name, source)
    plugins = loaded()
    assert isinstance(plugins.backend("memory://", backend_config()), MemoryBackend)
    broken = broken_one(plugins, name)
    assert broken.distribution == f"tests-{name} 1.0"
    assert cause in broken.reason
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text for text in warnings if f"tests-{name} 1.0" in text and cause in text]
    with pytest.raises(PluginError) as caught:
        plugins.backend("tape://", backend_config())
    assert f"tests-{name} 1.0" in caught.value.message
    assert cause in caught.value.message
    assert plugins.statistics()["broken"] == len(plugins.broken)


def test_an_entry_point_that_names_a_missing_module_is_reported(site: Path) -> None:
    write_distribution(site, "lost", "", entry_point="tests_not_there")
    assert "tests_not_there" in broken_one(loaded(), "lost").reason


def test_two_plugins_of_one_name_are_told_apart_by_their_distributions(site: Path) -> None:
    write_distribution(site, "example", HEADER + "@hookimpl\ndef appliance_start(node): pass\n")
    plugins = loaded()
    broken = broken_one(plugins, "example")
    assert {broken.distribution, plugins.distributions["example"]} == {
        "tests-example 1.0",
        "cache-appliance-example 0.1.0",
    }


MAKERS = {
    "raises": ("raise RuntimeError('no tape in drive')", "RuntimeError: no tape in drive"),
    "lazy": ("import no_such_library", "no_such_library"),
    "wrongtype": ("return 42", "returned a int"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_plugin_that_fails_to_make_its_backend_is_named(site: Path, name: str) -> None:
    body, cause = MAKERS[name]
    source = f"@hookimpl\ndef appliance_backend(url, config):\n    if url.startswith('tape'):\n        {body}\n"
    write_distribution(site, name, HEADER + source)
    plugins = loaded()
    with pytest.raises(PluginError) as caught:
        plugins.backend("tape://secret-host/path", backend_config())
    assert f"{name} (tests-{name} 1.0)" in caught.value.message
    assert cause in caught.value.message
    assert "secret-host" not in caught.value.message
    assert isinstance(plugins.backend("memory://", backend_config()), MemoryBackend)


def test_an_async_hook_is_refused_without_a_stray_coroutine(site: Path) -> None:
    source = "@hookimpl\nasync def appliance_backend(url, config): return None\n"
    write_distribution(site, "asynchronous", HEADER + source)
    with pytest.raises(PluginError, match="returned a coroutine"):
        loaded().backend("tape://", backend_config())


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("memory://host", {}, "nothing after it"),
        ("memory://", {"size": 1}, "no option 'size'"),
        ("memory://", {"max_bytes": -1}, "max_bytes"),
        ("memory://", {"max_bytes": "1"}, "max_bytes"),
        ("memory://", {"max_bytes": True}, "max_bytes"),
    ],
)
def test_a_plugins_own_configuration_errors_pass_through(
    url: str, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        loaded().backend(url, backend_config(**options))


class Recorder:
    """A plugin that notes what it is told."""

    def __init__(self, *, fail: bool = False) -> None:
        self.told: list[object] = []
        self._fail = fail

    def _note(self, what: object) -> None:
        self.told.append(what)
        if self._fail:
            raise RuntimeError("recorder broke")

    @hookimpl
    def appliance_start(self, node: str) -> None:
        self._note(("start", node))

    @hookimpl
    def appliance_stop(self, node: str) -> None:
        self._note(("stop", node))

    @hookimpl
    def appliance_event(self, event: Event) -> None:
        self._note(event)

    @hookimpl
    def appliance_metrics(self) -> list[tuple[str, str, float]]:
        self._note("metrics")
        return [("tape_mounts", "Mounted tapes.", len(self.told))]


def test_life_events_and_metrics_reach_every_plugin_in_order() -> None:
    plugins, first, second = Plugins(), Recorder(), Recorder()
    plugins.register(first, "first")
    plugins.register(second, "second")
    plugins.start("n1")
    plugins.event(EVENT)
    metrics = plugins.metrics()
    plugins.stop("n1")
    expected = [("start", "n1"), EVENT, "metrics", ("stop", "n1")]
    assert first.told == second.told == expected
    assert metrics == [("tape_mounts", "Mounted tapes.", 3.0)] * 2
    assert plugins.statistics() == {"plugins": 2, "broken": 0}


def test_a_plugin_that_raises_in_events_metrics_or_stop_is_logged_once_and_stops_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plugins, bad, good = Plugins(), Recorder(fail=True), Recorder()
    plugins.register(good, "before")
    plugins.register(bad, "bad")
    plugins.register(after := Recorder(), "after")
    for _ in range(3):
        plugins.event(EVENT)
    assert len(plugins.metrics()) == 2
    plugins.stop("n1")
    assert good.told == after.told == [EVENT, EVENT, EVENT, "metrics", ("stop", "n1")]
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 3  # one a hook, not one a failure
    assert all("bad" in record.getMessage() and record.exc_info for record in errors)
    statistics = plugins.statistics()
    assert statistics["appliance_event_failures_total"] == 3
    assert statistics["appliance_stop_failures_total"] == 1


def test_metrics_that_are_not_samples_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    class Wrong:
        @hookimpl
        def appliance_metrics(self) -> object:
            return [("name", "help", "not a number")]

    plugins = Plugins()
    plugins.register(Wrong(), "wrong")
    assert plugins.metrics() == []
    assert "appliance_metrics" in caplog.text


def test_a_plugin_that_fails_to_start_stops_the_start_and_is_named() -> None:
    plugins = Plugins()
    plugins.register(Recorder(fail=True), "bad", "tests-bad 2.0")
    with pytest.raises(
        PluginError, match=r"bad \(tests-bad 2\.0\) failed to start.*recorder broke"
    ):
        plugins.start("n1")
