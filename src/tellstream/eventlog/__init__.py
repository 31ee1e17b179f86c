"""Event logs: the contract and its implementations."""
