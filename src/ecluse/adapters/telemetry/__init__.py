"""What can be seen from outside: Prometheus metrics and one log line a request."""
