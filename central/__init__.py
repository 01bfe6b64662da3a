"""The record of truth: ledger, claims, documents, API, dashboard."""
