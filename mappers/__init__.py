"""Small trained networks between frozen models, and the one trainer that trains them."""

import os

SPINS = "10000"
"""Turns that an idle thread of OpenMP takes before it sleeps. Without a limit the threads of two programs take each
other's cores while they wait (``benchmarks/app/two_at_once.py``). GNU's library reads it when torch is imported."""

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
