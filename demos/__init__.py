"""Things to try, built on the public API only: ``python -m demos`` opens the app."""
