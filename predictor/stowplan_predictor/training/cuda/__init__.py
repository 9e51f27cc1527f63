"""The GPU campaign: networks and random kernels under torch (eager, or compiled by inductor) on an NVIDIA GPU; fusion as the compiler itself tells it.

The way through: `machines` asks what this machine allows, `plans` lists units of work, `campaigns` runs them, `units` says what worker processes are asked
for each. In a worker (`workers`, `sessions`) and nowhere else is torch: `modules` builds, `compilers` compiles, `timings` times. `provenances` and `traces`
read what compiler and profiler wrote, `tables` keeps rows. Nothing here changes a setting of the GPU.
"""
