"""A coherent, crash-safe near cache for S3 buckets and filesystems. See docs/ARCHITECTURE.md."""

__version__ = "0.1.0"
