"""What `ecluse doctor` looks at: small checks, each a function that returns findings.

============== ===============================================================================
finding        a line of the diagnosis
program        Python, Ecluse, the packages that are machine code, the machine
settings       the configuration file, and what it names that nobody serves
storage        the data folder, the database and its keys
network        the port, local model servers, upstreams, paid suppliers
models         GGUF files and the demonstration
examination    all of them at once
============== ===============================================================================

No check changes anything, and none prints a secret.
"""
