"""`./dev bench [ROW ...]`: run rows, alternate product and peers, print medians and ratios."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from bench.machine import kept_memory
from bench.report import Result, table
from bench.rows import ROWS
from bench.scene import Scene


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: all of {', '.join(ROWS)}")
    parser.add_argument(
        "--rounds", type=int, default=5, help="times each side is measured (default 5)"
    )
    parser.add_argument(
        "--directory", type=Path, help="where to put data (default: a temporary directory)"
    )
    parser.add_argument("--json", type=Path, help="write all samples here too")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - set(ROWS)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there is {', '.join(ROWS)}")
    # Servers are ended, and the machine is as it was, also when the bench is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    results: list[Result] = []
    with (
        kept_memory(),
        tempfile.TemporaryDirectory(
            dir=arguments.directory, prefix="appliance-bench-"
        ) as directory,
    ):
        for name in arguments.rows or ROWS:
            with Scene(Path(directory) / name) as scene:
                print(f"{name} ...", file=sys.stderr, flush=True)
                results += ROWS[name](scene, arguments.rounds)
                print(table(results[-4:]), file=sys.stderr, flush=True)
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps([result.as_dict() for result in results], indent=2))
    return 0 if all(result.met for result in results) else 1


sys.exit(main())
