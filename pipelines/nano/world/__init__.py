"""What nano's models are trained on: drawn scenes, synthesised sounds and their captions."""
