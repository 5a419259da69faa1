"""The manifest the tests of the runtime register."""

from __future__ import annotations


def manifest() -> dict[str, object]:
    """A plain service, an object with options, and a workflow."""
    return {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 7,
        "services": [
            {"name": "Echo", "ty": "SERVICE", "handlers": [{"name": "echo"}, {"name": "other"}]},
            {
                "name": "Counter",
                "ty": "VIRTUAL_OBJECT",
                "retryPolicyInitialInterval": 5,
                "retryPolicyMaxAttempts": 2,
                "handlers": [
                    {"name": "add", "retryPolicyInitialInterval": 7, "retryPolicyExponentiationFactor": 3.0},
                    {"name": "get", "ty": "SHARED"},
                ],
            },
            {
                "name": "Flow",
                "ty": "WORKFLOW",
                "handlers": [{"name": "run", "ty": "WORKFLOW"}, {"name": "poke", "ty": "SHARED"}],
            },
        ],
    }
