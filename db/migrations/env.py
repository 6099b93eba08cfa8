"""What Alembic runs: the migrations on the connection that `db.upgrade` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from db.schema import Base


def run() -> None:
    """Run the migrations."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()


run()
