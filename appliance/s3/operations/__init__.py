"""What the endpoint can do: one file per group of operations, each a thin `async def` between `wire` values and the cache.

An operation takes a `Call` and returns a `Response`, or raises a domain error; `table.py` names them all.
"""
