"""Following a run: what trainer, validator, API and auditor share, from the manifest to the settlement ledger."""
