"""What must outlive the process: the usage ledger, in SQL."""
