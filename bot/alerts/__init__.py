"""What the owner is told is wrong: when (watch), in which words (words.json), and by which way (channels)."""
