"""The dashboard: what central knows, for people, live."""
