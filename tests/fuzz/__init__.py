"""Throw mutated webhooks at a real daemon: `python -m tests.fuzz`, or `make fuzz N=20000 SEED=7`."""
