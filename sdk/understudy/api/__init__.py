"""What a handler author writes with: services, contexts, futures, serdes."""
