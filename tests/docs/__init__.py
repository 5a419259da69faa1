"""The documentation runs: examples, commands, links, and the numbers it shares with the code."""
