"""The record of truth over HTTP: one small file per resource, everything common in the files beside them."""
