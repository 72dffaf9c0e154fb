"""The garbage collector of a server: modules and tables live as long as the process, and requests leave hardly any cycles behind."""

from __future__ import annotations

import gc

# New objects before a look at the youngest; of such looks, before one at the next generation. A signed GET makes a few hundred objects
# and frees them at once; with the default of 700 the looks took 3 % of its CPU, and one at everything 100 ms where the index is large.
_THRESHOLDS = (50_000, 20, 50)


def settle() -> None:
    """Call it once, when everything is started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
