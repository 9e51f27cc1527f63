"""Response time under load: `queues` (the M/G/1 queue, inverted numerically) and `response_times` (what a bundle makes of it)."""
