"""What is kept: tables, state machines, units of work, outbox and audit."""
