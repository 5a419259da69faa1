"""Strategies: which runs a search makes, and in which order."""
