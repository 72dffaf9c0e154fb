"""kill -9 of a real process under load, many times, at random points; then every promise is checked by the next one."""

import os
import random
import signal
import subprocess
import sys

import pytest

ROUNDS = 20
SEED = "cache crash"


@pytest.fixture
def victims():
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.cache_victim"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


class Ledger:
    """What the outside world knows: per key the last acknowledged write, and those begun since."""

    def __init__(self):
        self.acknowledged = {}
        self.begun = {}
        self.restarts = self.acks = 0
        self.wrong = []

    def begin(self, key, number):
        self.begun.setdefault(key, []).append(number)

    def ack(self, key, number):
        assert self.begun[key][-1] == number
        self.acknowledged[key], self.begun[key] = number, []
        self.acks += 1

    def found(self, key, number):
        """After a restart: the last acknowledged state, or that of a write that was under way."""
        possible = {max(n, -1) for n in (self.acknowledged.get(key, -1), *self.begun.get(key, []))}
        if number not in possible:
            self.wrong.append(f"{key} is at {number}, not at one of {possible}")
        # From here on this is what everybody has seen.
        self.acknowledged[key], self.begun[key] = number, []


def test_kill_9_under_load_breaks_no_promise(victims, tmp_path):
    chance = random.Random(SEED)
    print("seed:", SEED)  # noqa: T201  # so that a failure can be repeated
    ledger = Ledger()
    for number in range(ROUNDS):
        victims.stdin.write(f"{tmp_path} {SEED.replace(' ', '-')}/{number}\n")
        victims.stdin.flush()
        stop_at = ledger.acks + chance.choice([0, 1, 3, 10, 40])
        pid, checked, killed = 0, False, False
        for line in victims.stdout:
            kind, *words = line.split()
            match kind:
                case "pid":
                    pid = int(words[0])
                case "begin" | "ack" | "found":
                    getattr(ledger, kind)(words[0], int(words[1]))
                case "checked":
                    checked = True
                case "wrong":
                    ledger.wrong.append(line)
                case "gone":
                    break
            if checked and not killed and ledger.acks >= stop_at:
                os.kill(pid, signal.SIGKILL)
                killed = True
        assert killed, "the victim ended by itself: see its error output"
        assert ledger.wrong == []
    assert ledger.acks > ROUNDS
