"""How far deployments can be relied on: breakers, pauses between tries, hedges."""
