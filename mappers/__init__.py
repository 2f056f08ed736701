"""Small trained networks between frozen models, and the one trainer that trains them."""
