"""Where tables are written behind: an ordered key-value table, derived from the log."""
