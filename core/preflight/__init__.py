"""What a job will take, by closed form from a model's shape: no torch, no weights, a millisecond.

`work` says what is asked, `counting` how many weights it trains, `activations` and `memory` what stands in memory and
when, `fitting` whether that fits and what would, `duration` how long by what earlier jobs took.
"""
