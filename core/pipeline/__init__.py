"""The child process of a job: spec in, events out; load → measure → unlearn → save → measure what was saved.

`python -m core.pipeline` reads a JobSpec, one JSON line, from standard input, and writes events of `core.schema.events`
as JSON lines to standard output. SIGTERM pauses the job. Exit codes: 0 done, cancelled or paused; 3 a failure that the
last event explains; 1 an unexpected failure; 4 the parent is gone.
"""
