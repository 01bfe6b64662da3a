"""The on-site daemon: what a scan means here, the stations people look at, and keeping it all running.

The pure core is `meaning`, `workflows` and `guard`; `history`, `reference` and `tasks` are what it knows; `station`
ties them to one place where a person works; `build` wires everything.
"""
