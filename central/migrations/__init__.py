"""How the tables of an installed central become those of this version (Alembic)."""
