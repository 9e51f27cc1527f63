"""The command line: `main` puts the commands together; whatever is heavy is imported by the command that needs it.

Commands, one module each: `forecasts` (a network), `placements` (a cluster), `measurements`. What they stand on: `simulating` (a cluster at a desk, decided as
it would be there) and `promises` (the audit, which shares no code with that), `objects` (Kubernetes), `inputs` (what is typed), `terminal` (what is said).
"""
