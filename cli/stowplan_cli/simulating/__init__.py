"""A cluster at a desk: the operator's ladder and the extender's decision, called as they run there."""
