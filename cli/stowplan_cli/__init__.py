"""`stowplan` and `kubectl-stowplan`: predict, explain, place, measure, train, serve."""
