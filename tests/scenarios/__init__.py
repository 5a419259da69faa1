"""Tests of the scenarios themselves."""
