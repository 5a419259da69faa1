"""Hypothesis draws what is rehearsed."""
