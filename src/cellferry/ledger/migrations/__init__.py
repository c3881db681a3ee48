"""How the tables came to be: one script for each revision of the schema, run by ``opening`` through Alembic."""
