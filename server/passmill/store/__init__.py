"""PostgreSQL, the truth. One module of functions a noun, the SQL beside its function; the first
argument is the transaction, and no function commits. The only layer that knows asyncpg."""
