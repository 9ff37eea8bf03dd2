"""The file of a collection: its tables, connections, transactions, and the lock of its writer."""
