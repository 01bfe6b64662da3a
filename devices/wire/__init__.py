"""How devices speak, where several drivers need to know it: frames, conversations, checksums, symbologies, messages.

Pure, like the drivers; what only one protocol has stands in its driver, unless it is a table of its own.
"""
