"""The command ``mapfield``. Python programs import `pipelines` and `nerf`, which hold the functions.

Importing this package makes sure that `pipelines`, `nerf` and the other packages of mapfield are its own, whatever else
of these names lies in the working folder or on ``PYTHONPATH``.
"""

from .installation import use_own_packages

use_own_packages()
