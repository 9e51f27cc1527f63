"""Times of real runs, never made up: `devices` (what a CPU can do), `networks` (end to end), `profiles` (kernel by kernel), `pairs` (side by side),
`loads` (under Poisson arrivals); beneath them `locks`, `quotas`, `noises`, `statistics`, `inputs`, `structures` and the child process `workers`.

One measurement at a time on a machine, each in a fresh process on the slice it is about, repeated while others disturbed it.
"""
