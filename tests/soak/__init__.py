"""Load a real daemon for minutes, with faults that come and go: `python -m tests.soak`, or `make soak MINUTES=20`."""
