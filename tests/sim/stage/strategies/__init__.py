"""Strategies, and searches by them."""
