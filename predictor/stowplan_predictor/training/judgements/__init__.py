"""What held-out families show of every system: predictions, judgements part by part, and their scores."""
