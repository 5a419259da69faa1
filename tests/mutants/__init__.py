"""The mutants: every edit still fits, and a sample is caught."""
