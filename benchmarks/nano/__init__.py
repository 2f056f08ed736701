"""The nano models: quality of pictures and sounds, with the classifiers that judge them."""
