"""What reads the prompt."""
