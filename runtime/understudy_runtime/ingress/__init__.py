"""Requests to commands, and results to answers: `core.py` decides, `shell.py` acts."""
