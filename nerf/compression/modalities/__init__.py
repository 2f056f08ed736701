"""What can be compressed: pictures, sounds, videos and volumes."""
