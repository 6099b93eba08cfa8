"""Migrations of the database, run by `Database.upgrade`."""
