"""Measure the daemon: `make bench`, or `python -m tests.bench --help`. What each figure means: docs/benchmarks.md."""
