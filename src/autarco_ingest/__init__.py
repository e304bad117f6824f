"""Ingest: from the bytes of solar data loggers to rows in an open table."""
