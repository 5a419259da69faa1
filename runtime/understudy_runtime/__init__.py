"""The server: from a request's bytes to the log, to the tables, to attempts, and back."""
