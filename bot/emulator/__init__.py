"""Stand in for the Graph API and the model: real servers for the demo, the tests and the benchmarks."""
