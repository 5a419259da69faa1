"""Same seed, same run: in other processes, with other hash seeds, after other imports, on other Python versions."""
