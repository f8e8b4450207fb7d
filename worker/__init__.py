"""The worker: it takes hints from Celery and runs one child process for each job. It never loads torch."""
