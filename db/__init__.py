"""What is kept: tables, state machines, units of work, outbox and audit.

`db.session.Database` is the way in. What is read comes out as the frozen values of `db.views`.
"""
