"""Benchmarks beside peers: one is `python -m benchmarks.resnet18`, all are `python -m benchmarks.table`."""
