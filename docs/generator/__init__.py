"""Writes the contract's documents from the program's own models: JSON Schemas, AsyncAPI, OpenAPI.

A contributor's tool, run by `make contract`. The one idea: models say shapes, docs/contract.md says meanings and
examples, and everything else in docs/ that a machine reads is made from the two, so that none of it can drift.
"""
