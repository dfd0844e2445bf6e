"""What the product reaches, measured against named alternatives; docs/benchmarks.md holds the figures."""
