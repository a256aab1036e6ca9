"""The pages payers see. Plain ES modules, no build step."""
