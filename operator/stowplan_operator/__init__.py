"""The operator: keeps InferenceServices true.

Rooms: `sizing` (pure: the ladder of rungs), `workloads` (the Deployment from the user's template), `conditions` (status), `models` (URIs to bytes),
`reconciling` (kopf handlers; the only room that talks to the API server).
"""
