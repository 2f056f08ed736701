"""The app: seconds of every tab's default job, and memory kept between steps."""
