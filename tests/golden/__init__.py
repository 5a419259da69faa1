"""Recorded data folders, one per format, and what their tables hold once their logs are replayed."""
