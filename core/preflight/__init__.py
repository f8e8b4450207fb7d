"""Estimates of a job's memory and time, in closed form from a model's shape: no torch, no weights, a millisecond.

`workload` describes the job, `parameter_counts` counts the weights that it trains, `activations` and `memory` what each
phase holds in memory, `capacity` whether that fits and which changes would, `duration` the time, by earlier jobs or by
the throughput that workers measured.
"""
