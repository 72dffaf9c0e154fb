"""Fuzz by coverage, for as long as one likes: `./dev fuzz [TARGET ...] [--seconds N]`.

Each target runs in a process of its own, from the inputs that earlier runs found (run/fuzz/TARGET). What fails is kept beside them as
`crash-...`, `timeout-...` or `oom-...`; `./dev fuzz TARGET --input FILE` runs it once more. A minute finds what is shallow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.support.fuzz_seeds import SEEDS, WORDS

ROOT = Path("run/fuzz")
# One input may take this long and this much: far more than any request is worth.
LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=32768")


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(SEEDS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--input", type=Path, help="run one input, once")
    given = parser.parse_args()
    unknown = set(given.targets) - SEEDS.keys()
    if unknown:
        parser.error(f"no target {min(unknown)}; there are {', '.join(SEEDS)}")
    names = given.targets or list(SEEDS)
    how = [str(given.input)] if given.input else [f"-max_total_time={given.seconds}"]
    failed = [name for name in names if run(name, how)]
    print(f"failed: {', '.join(failed)}; see {ROOT}" if failed else "nothing failed")  # noqa: T201
    return bool(failed)


def run(name: str, how: list[str]) -> int:
    """Exit status of the fuzzer."""
    corpus = ROOT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = ROOT / "words"
    lines = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS)
    words.write_text("".join(f'"{line}"\n' for line in lines))
    options = [*LIMITS, f"-dict={words}", f"-artifact_prefix={corpus}/", "-print_final_stats=1"]
    places = [] if how[0][0] != "-" else [str(corpus)]
    argv = [sys.executable, "-m", "tests.fuzz.one", name, *options, *how, *places]
    return subprocess.run(argv, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
