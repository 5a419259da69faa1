"""The state machine: `apply(tables, record)` is the entry; nothing here awaits, draws or reads a clock."""
