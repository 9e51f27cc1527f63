"""The scheduler extender: keeps the placements on which the newcomer and every resident stay inside their objectives.

Rooms: `wire` (kube-scheduler's messages), `views` (the cluster as watched), `decision` (pure: who may go where, and why not), `reservations`
(promises between bind and watch), `binding` (the one write), `serving` (HTTP).
"""
