"""What waits and buffers: accounts, the fleet, attempts, the ledger's writer."""
