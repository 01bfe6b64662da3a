"""Measured against the physical limit of the same machine in the same run: `python -m benchmarks NAME… --json`."""
