"""Snapshots: what a store held at one LSN, as a file that lets the log before it go."""
