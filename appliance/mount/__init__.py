"""The buckets as a filesystem, by FUSE. `Mount` is what others construct; docs/SEMANTICS.md says what the filesystem promises."""

from appliance.mount.guarded import end_former_mount
from appliance.mount.mount import Mount
from appliance.mount.settings import MountSettings

__all__ = ["Mount", "MountSettings", "end_former_mount"]
