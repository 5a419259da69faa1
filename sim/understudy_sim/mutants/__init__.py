"""Mutants: bugs planted on purpose, so that every checker can show that it bites.

A mutant is one edit of one product module, applied while the module is imported; nothing on disk changes.  The
catalogue lists them; `python -m understudy_sim.mutants` hunts each with the simulator and writes `docs/mutants.md`.
This package is a tool for those who work on understudy: nothing in the product or the simulator imports it.
"""
