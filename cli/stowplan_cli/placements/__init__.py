"""Commands about a cluster, live or of a snapshot: `place`, `nodes`, `what-if`, `snapshot`, `audit`, `replay`, and kubectl's `explain`."""
