"""How older stores become newer ones, by Alembic."""
