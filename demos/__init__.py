"""Things to try, built on the public API only: ``mapfield app`` opens the app."""
