"""Who may read the journal."""

from __future__ import annotations

from appliance.journal.journal import Journal
from appliance.world import RealWorld


def test_its_files_are_for_their_owner_only(tmp_path):
    path = tmp_path / "appliance.db"
    path.touch(0o644)
    journal = Journal.open(path, RealWorld())
    try:
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        journal.close()
    assert "appliance.db-wal" in modes
    assert set(modes.values()) == {0o600}
