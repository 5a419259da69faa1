"""Tests of the page a run is shown on."""
