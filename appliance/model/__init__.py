"""Values that everything else speaks in: names, objects, ranges, conditions, events, errors. Pure: no I/O, no clock."""
