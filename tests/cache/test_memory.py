import subprocess
import sys

MIB = 1 << 20


def test_streams_in_and_out_need_little_memory_however_large_the_objects(tmp_path):
    """Of 200 MiB, 4 GETs and 4 PUTs at once may take half: front ends and backends need some, too."""
    command = [
        sys.executable,
        "-m",
        "tests.support.cache_streams",
        str(tmp_path),
        str(64 * MIB),
        "4",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100 * MIB
