"""What changes the cluster: `bindings`, and the touch that has a refused pod tried again (`wakeups`).

Only who leads may (`leaderships`, from what the Lease tells: `successions`). `backlogs` counts bindings under way, `upkeeps` looks after those that
the watch does not show.
"""
