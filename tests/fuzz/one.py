"""One target under atheris: `python -m tests.fuzz.one TARGET LIBFUZZER-ARGUMENT...`; started by `tests.fuzz`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["appliance"]):
    from tests.support.fuzz_targets import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
