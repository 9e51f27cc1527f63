"""From a campaign's tables to a bundle for that GPU and runtime: kernels calibrate the public bundle, networks and neighbours teach what single kernels cannot.

`operators` and `kernels` read measured kernels as tasks, `calibrations` fits what they leave over of the public bundle, `laws` what networks and pairs leave
over of that; `judgements` repeats all of it without each family of networks in turn, and nothing else is ever shown.
"""
