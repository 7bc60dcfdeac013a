"""kill -9 and power cuts, at random instants and at named points, judged by what the services outside saw.

`python -m tests.process.crash` (or `make crash N=500`) does it in the hundreds; `make test` has the short form.
"""
