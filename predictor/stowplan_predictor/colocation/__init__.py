"""What tenants of the same device do to a service time: `demands` of each, and the `degradations` learned from measured pairs."""
