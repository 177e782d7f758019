"""The steps between the versions of the database, as Alembic runs them: one file in `versions/` for each. They are written against the tables of their time, never
against
`tables.py`, which goes on."""
