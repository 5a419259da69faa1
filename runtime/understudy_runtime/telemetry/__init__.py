"""Views of the one event vocabulary (`model/events.py`) for people: structured logs."""
