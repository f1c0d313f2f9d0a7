"""Which models to ask for a request, in which order, and when an answer is good enough."""
