"""`Plugins`: finds, checks and calls plugins. The only place that knows pluggy's manager.

Plugins are found by entry points of the group `appliance`. Each is checked by itself before it joins, so that one that cannot be imported
or does not fit the hook specifications is set aside in `broken`, with a warning, and the others work. It becomes an error only when
somebody needs what it would have provided.

Who answers for an exception depends on the hook: making a backend and starting are asked for by somebody who must know (PluginError);
events, metrics and stopping go on regardless (logged once per plugin and hook with its traceback, then counted).
"""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pluggy

from appliance.model.errors import ApplianceError, ConfigError, PluginError
from appliance.model.events import Event
from appliance.plugin import hookspecs
from appliance.plugin.backend import Backend, BackendConfig

GROUP = "appliance"
# Backends that are shipped as distributions of their own: scheme -> what to install.
INSTALL = {
    "posix": "cache-appliance[posix]",
    "s3": "cache-appliance[s3]",
    "memory": "cache-appliance-example",
}


class BrokenPlugin(msgspec.Struct, frozen=True):
    """A plugin that was found and cannot be used. `reason` is a sentence."""

    name: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution}): {self.reason}"


class Plugins:
    """All plugins of this process. `load` finds the installed ones; tests `register` modules of their own."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.broken: list[BrokenPlugin] = []
        self.distributions: dict[str, str] = {}  # plugin name -> distribution and version
        self._logger = logger or logging.getLogger("appliance.plugin")
        self._manager = _new_manager()
        self._callers: dict[str, list[tuple[str, Callable[..., Any]]]] = {}
        self._failures: Counter[tuple[str, str]] = Counter()  # (plugin, hook) -> exceptions

    # --- finding -----------------------------------------------------------------

    def load(self) -> None:
        """Register every installed plugin. Raises nothing: see `broken`."""
        for entry_point in sorted(
            importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name
        ):
            distribution = _distribution_of(entry_point)
            try:
                module = entry_point.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001  # anything can happen in an import
                self._set_aside(
                    entry_point.name, distribution, f"it cannot be imported: {_say(error)}"
                )
            else:
                self.register(module, entry_point.name, distribution)

    def register(self, module: object, name: str, distribution: str = "this process") -> None:
        """Add one plugin; one that does not fit the hooks goes to `broken`."""
        if name in self.distributions:
            other = self.distributions[name]
            self._set_aside(name, distribution, f"{other} has a plugin of the same name.")
            return
        try:
            hooks = _check(module, name)
        except pluggy.PluginValidationError as error:
            self._set_aside(name, distribution, f"it does not fit the hooks: {error}")
            return
        if not hooks:
            reason = "it implements no hook; mark its functions with appliance.plugin.hookimpl."
            self._set_aside(name, distribution, reason)
            return
        self._manager.register(module, name)
        self.distributions[name] = distribution
        self._callers = {hook: self._callers_of(hook) for hook in _hook_names()}

    def _set_aside(self, name: str, distribution: str, reason: str) -> None:
        broken = BrokenPlugin(name, distribution, reason)
        self.broken.append(broken)
        self._logger.warning("Plugin %s", broken)

    def _callers_of(self, hook: str) -> list[tuple[str, Callable[..., Any]]]:
        """One caller a plugin, in pluggy's order, so that a failure has a name and stops nobody else."""
        everyone = self._manager.get_plugins()
        implementations = reversed(getattr(self._manager.hook, hook).get_hookimpls())
        return [
            (impl.plugin_name, self._manager.subset_hook_caller(hook, everyone - {impl.plugin}))
            for impl in implementations
        ]

    # --- backends ----------------------------------------------------------------

    def backend(self, url: str, config: BackendConfig) -> Backend:
        """The backend for `url`, not yet started. Raises ConfigError (the URL or an option is wrong) and PluginError."""
        scheme = urlsplit(url).scheme
        if not scheme or "://" not in url:
            raise ConfigError(
                f"Backend {config.name}: {url!r} is not a URL. Directories are written posix:///srv/data."
            )
        for name, caller in self._callers.get("appliance_backend", []):
            made = self._make(name, caller, url, config, scheme)
            if made is not None:
                return made
        raise PluginError(self._nobody(scheme))

    def _make(
        self,
        name: str,
        caller: Callable[..., Any],
        url: str,
        config: BackendConfig,
        scheme: str,
    ) -> Backend | None:
        try:
            made = caller(url=url, config=config)
        except ApplianceError:
            raise
        except Exception as error:
            sentence = f"failed to make the {scheme}:// backend {config.name}: {_say(error)}"
            raise PluginError(f"The plugin {self._named(name)} {sentence}") from error
        if made is None or isinstance(made, Backend):
            return made
        if inspect.iscoroutine(made):
            made.close()  # else Python warns that it was never awaited
        sentence = (
            f"returned a {type(made).__name__} for {scheme}://, not an appliance.plugin.Backend."
        )
        raise PluginError(f"The plugin {self._named(name)} {sentence}")

    def _nobody(self, scheme: str) -> str:
        sentences = [f"No plugin provides {scheme}:// backends."]
        sentences += [f"A plugin is broken: {broken}" for broken in self.broken]
        if scheme in INSTALL:
            sentences.append(f"Install it with: pip install {INSTALL[scheme]}")
        else:
            sentences.append("Install one that does into the same Python environment.")
        found = ", ".join(self._named(name) for name in self.distributions) or "none"
        return " ".join([*sentences, f"(Plugins found: {found}.)"])

    def _named(self, name: str) -> str:
        return f"{name} ({self.distributions[name]})"

    # --- the other hooks -----------------------------------------------------------

    def start(self, node: str) -> None:
        """Tell all plugins that the node is about to serve. Raises PluginError for the first that fails."""
        for name, caller in self._callers.get("appliance_start", []):
            try:
                caller(node=node)
            except ApplianceError:
                raise
            except Exception as error:
                sentence = f"failed to start: {_say(error)}"
                raise PluginError(f"The plugin {self._named(name)} {sentence}") from error

    def stop(self, node: str) -> None:
        """Tell all plugins that the node has stopped serving. Raises nothing."""
        self._tell("appliance_stop", node=node)

    def event(self, event: Event) -> None:
        """Tell all plugins of a committed event. Raises nothing."""
        self._tell("appliance_event", event=event)

    def metrics(self) -> list[tuple[str, str, float]]:
        """Gauges of all plugins: (name, help, value). One that fails, or returns something else, is left out. Raises nothing."""
        samples: list[tuple[str, str, float]] = []
        for name, caller in self._callers.get("appliance_metrics", []):
            try:
                for result in caller():
                    samples += _samples(result)
            except Exception as error:  # noqa: BLE001  # a plugin's bug stays the plugin's
                self._note_failure(name, "appliance_metrics", error)
        return samples

    def statistics(self) -> dict[str, float]:
        """Plugins in use and set aside, and exceptions by hook."""
        failures: Counter[str] = Counter()
        for (_, hook), count in self._failures.items():
            failures[f"{hook}_failures_total"] += count
        return {"plugins": len(self.distributions), "broken": len(self.broken), **failures}

    def _tell(self, hook: str, **arguments: object) -> None:
        for name, caller in self._callers.get(hook, []):
            try:
                caller(**arguments)
            except Exception as error:  # noqa: BLE001  # a plugin's bug stays the plugin's
                self._note_failure(name, hook, error)

    def _note_failure(self, name: str, hook: str, error: Exception) -> None:
        self._failures[name, hook] += 1
        if self._failures[name, hook] == 1:
            self._logger.error(
                "The plugin %s failed in %s; further failures are counted only.",
                self._named(name),
                hook,
                exc_info=error,
            )


def _new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


def _hook_names() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("appliance_")]


def _check(module: object, name: str) -> list[str]:
    """Names of the hooks that a plugin implements. Raises PluginValidationError for one that does not exist, or has other arguments."""
    manager = _new_manager()
    manager.register(module, name)
    manager.check_pending()
    return [caller.name for caller in manager.get_hookcallers(module) or []]


def _samples(result: Iterable[tuple[str, str, float]]) -> list[tuple[str, str, float]]:
    return [(str(name), str(text), float(value)) for name, text, value in result]


def _distribution_of(entry_point: importlib.metadata.EntryPoint) -> str:
    if entry_point.dist is None:
        return "unknown distribution"
    return f"{entry_point.dist.name} {entry_point.dist.version}"


def _say(error: BaseException) -> str:
    """An exception as the end of a sentence: what it is, and what it says."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
