"""The configuration: a frozen, strict TOML schema, and sentences that say where a file is wrong.

============== ===============================================================================
schema         the keys: types, limits, defaults, descriptions
load           file -> Configuration; every failure is a ConfigurationError naming file and line
check          what no single key can show: duplicates, collisions, unreachable stages
explain        msgspec's complaints in words
locate         the line of a key
fields         the schema as data, for the messages and the documents
document       docs/configuration.md and the example file, made from the schema
restart        what a reload cannot change
paths          which file is read, and where data is kept
============== ===============================================================================
"""
