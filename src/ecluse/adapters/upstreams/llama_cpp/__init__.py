"""The embedded llama.cpp: GGUF files served by a child process each.

``gguf`` reads a file's facts, ``child`` is the program of the child process, ``engine`` starts it
and watches over it, ``upstream`` makes it an upstream like any other.
"""
