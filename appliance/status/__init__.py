"""The admin listener: metrics, health, status. Read-only; on loopback unless the operator says otherwise."""
