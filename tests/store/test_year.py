"""A year of life: what comes in goes out again, and the file stays as large as a month of it is.

DAYS_MESSAGES=1000 makes the days longer: minutes, and figures for docs/benchmarks.md.
"""
