"""Commands about one network: `predict`, `explain`, `strip`; about the slices it may get, and the bundle that answers."""
