"""See docs/PLUGINS.md."""
