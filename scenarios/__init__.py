"""Scenarios: scripts a user could have written.  Services, operations drawn as data, and the claims that must hold."""
