"""Ecluse: a self-hosted gateway that answers with the least model that is good enough."""

__version__ = "0.1.0"
