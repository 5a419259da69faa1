"""What type checkers make of the SDK."""
