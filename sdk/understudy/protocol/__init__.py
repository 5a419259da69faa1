"""The wire: messages, and frames of them.  No I/O."""
