"""Fine-tune and calibrate a reader."""
