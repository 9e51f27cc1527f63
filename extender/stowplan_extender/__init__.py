"""The scheduler extender: keeps the placements on which the newcomer and every resident stay inside their objectives.

Rooms: `serving` (HTTP and the scheduler's verbs) -> `judging` (one pod over many nodes: `decision`, which is pure, and the predictor's answers), on
`cluster` (what watches of `apiserver` report, and promises not yet seen there); `binding` changes the cluster, `recording` writes decisions down.
Beside them: `processes` puts the parts together; `wire` (kube-scheduler's messages), settings, metrics and errors belong to all.
"""
