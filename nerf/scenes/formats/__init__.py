"""Readers of scene folders, one format a file."""
