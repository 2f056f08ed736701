"""PVD: conversions between field families compared with training from scratch."""
