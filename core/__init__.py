"""What API and worker both stand on; knows neither HTTP nor Celery."""
