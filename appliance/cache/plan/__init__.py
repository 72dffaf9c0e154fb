"""Decisions of the cache as plain functions of values: which blocks are here, what to fetch, what to evict. No I/O, no clock, no trio."""
