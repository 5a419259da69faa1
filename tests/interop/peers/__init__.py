"""The peers: which packages they are, how they get here, and how their processes are run."""
