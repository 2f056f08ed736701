"""The method "grids": quantised latent grids of several resolutions with an entropy model, for pictures.

A lapped transform turns a picture into grids of coefficients. They are divided by one step and rounded; small networks
predict every coefficient's distribution from those decoded before it, and a range coder spends that many bits. The
networks are shared by all pictures. This is a relative of C3 (arXiv 2312.02753) and Cool-chic (arXiv 2212.05458), not
relative entropy coding, and no implicit neural representation in the strict sense.
"""
