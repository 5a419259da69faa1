"""The command line: commands turn options into settings and errors into messages; the parts do the work."""
