"""The double-entry ledger: facts and claims become movements, entries and balances, one way in."""
