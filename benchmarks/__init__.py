"""benchmarks of preimage."""
