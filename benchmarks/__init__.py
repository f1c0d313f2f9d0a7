"""What the gateway costs, measured beside nginx and LiteLLM: `python -m benchmarks`."""
