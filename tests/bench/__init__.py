"""Benchmarks: commands that measure, and the one gate on CPU that the suite runs."""
