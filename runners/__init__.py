"""The `lethe` command, the job it runs, and the demo: everything that a person or an engine starts."""
