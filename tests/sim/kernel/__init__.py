"""The deterministic kernel, tested alone: nothing in here knows the product."""
