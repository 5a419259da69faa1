"""Deployments and their services: a log of their own, with its own pure apply."""
