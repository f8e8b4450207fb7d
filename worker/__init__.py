"""Takes a hint off Celery and owns one child process per job. torch is never loaded here."""
