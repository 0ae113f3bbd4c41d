"""The `mailrig` command: thin commands over the harness."""
