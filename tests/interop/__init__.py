"""Real peers on both sides: our server with the official SDKs, the official server with our SDK, and ours with ours."""
