"""What goes out: upstreams, the store, discovery, telemetry. Each translates foreign errors."""
