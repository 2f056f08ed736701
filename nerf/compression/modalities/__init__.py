"""What can be compressed: pictures, sounds, videos and volumes, a codec of samples and files for each."""
