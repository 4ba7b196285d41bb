"""The two tables: their items, and the requests that read and write them."""
