"""The values every part shares: commands, actions, events, ids.  No behaviour."""
