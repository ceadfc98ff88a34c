"""Alembic's folder: how a registry's database gets from one schema to the next."""
