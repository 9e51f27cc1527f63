"""Right-sizing: which slice class, and how many replicas, for a service. Pure functions of plain values.

The way through: `candidates` lists the slice classes that nodes have, with their `prices`; `ladders.questions_for` asks what each would do; `ladders.ladder`
ranks the answers by cost; `climbs.choose` picks a rung and keeps to it until there is a reason to move.
"""
