"""The child process of a job: spec in, events out; load → measure → unlearn → save → measure what was saved.

`python -m core.pipeline` reads a JobSpec, one JSON line, from standard input, and says what it does as JSON lines of
`core.schema.events` on standard output. SIGTERM is heard as the command to pause. Exit codes: 0 done, cancelled or
paused, 3 a failure it can explain, 1 one it cannot.
"""
