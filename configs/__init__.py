"""Complete, named settings as YAML files, shipped so that ``--config nano`` works from any folder."""
