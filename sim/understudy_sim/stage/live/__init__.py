"""The same operations against a live server and in the simulator: what must be equal is compared."""
