"""How the schema came to be; Alembic reads this folder, nothing imports it."""
