"""Tests: they mirror the source, and nothing imports them."""
