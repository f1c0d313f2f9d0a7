"""The composition root: the only place that builds things.

``members`` builds upstreams from a configuration, ``application`` holds what lives as long as the
process and swaps generations of the configuration, ``server`` serves it over HTTP.
"""
