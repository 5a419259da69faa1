"""The simulator's commands.  Each is a module; what they share is in `shared.py`.

Exit 0: all claims hold; 1: one broke; 2: bad usage.
"""
