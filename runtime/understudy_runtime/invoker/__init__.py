"""Attempts: who runs next, one attempt's dialogue, and the ways to an endpoint."""
