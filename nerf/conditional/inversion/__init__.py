"""From a picture to the codes and the pose of its object."""
