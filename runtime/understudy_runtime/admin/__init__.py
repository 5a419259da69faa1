"""The operator's side over HTTP: what a node is, and actions on single invocations."""
