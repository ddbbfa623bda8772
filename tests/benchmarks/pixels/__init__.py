"""The shop whose pages a browser looks at: PostgreSQL, Valkey, uvicorn, and a Celery worker."""
