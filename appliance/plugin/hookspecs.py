"""Every hook there is. A plugin implements the ones it wants, as module-level functions marked `@hookimpl`, in a module registered under
the entry point group `appliance`. Backends that ship with the product use these same hooks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from appliance.model.events import Event

if TYPE_CHECKING:
    from appliance.plugin.backend import Backend, BackendConfig

hookspec = pluggy.HookspecMarker("appliance")
hookimpl = pluggy.HookimplMarker("appliance")


@hookspec(firstresult=True)
def appliance_backend(url: str, config: BackendConfig) -> Backend | None:
    """Make the backend for `url` (`scheme://...`), or return None if the scheme is not this plugin's.

    Must not touch the network or the disk: `Backend.start` does. Raise ConfigError, with a sentence, for a URL or option that is wrong.
    """


@hookspec
def appliance_start(node: str) -> None:
    """The node is about to serve; all backends have started."""


@hookspec
def appliance_stop(node: str) -> None:
    """The node has stopped serving; backends are about to stop."""


@hookspec
def appliance_event(event: Event) -> None:
    """An event was committed to the journal. Called in order, off the request path; it must return at once."""


@hookspec
def appliance_metrics() -> Iterable[tuple[str, str, float]]:  # type: ignore[empty-body]
    """Gauges to publish: (name with unit, help text, value) each; called at every scrape, so it must be cheap."""
