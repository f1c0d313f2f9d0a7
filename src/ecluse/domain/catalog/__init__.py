"""Facts about models, deployments and suppliers."""
