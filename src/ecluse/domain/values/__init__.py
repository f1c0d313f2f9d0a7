"""The words of Ecluse as values: identifiers, requests, answers, usage, money."""
