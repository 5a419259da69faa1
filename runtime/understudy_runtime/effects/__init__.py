"""Actions to the outside, after durability and by the leader only: `dispatch.py` is the entry."""
