"""Where may this pod run? Pure functions of plain values: no clock, no sockets, no Kubernetes types.

Data flows one way: `occupancies` (what is on a node) -> `signatures` (what of it matters) -> `inquiries` (what to ask the
predictor) -> `verdicts` (accept, refuse with a reason, or come back later) -> `placings` (all nodes of a cluster, ranked).
The extender and the command line's offline `place` call exactly these functions, so what is simulated is what runs.
"""
