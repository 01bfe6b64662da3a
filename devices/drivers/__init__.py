"""One protocol a file: bytes or pixels in, reads out, and nothing opened or waited for.

`devices.registry` says which there are; CONTRIBUTING.md says how to add one.
"""
