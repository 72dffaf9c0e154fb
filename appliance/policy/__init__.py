"""Decisions as pure functions: what applies to a bucket; in later work, who may do what."""
