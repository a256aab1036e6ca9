"""Qirsh: a payment server. No charge lost, none doubled."""
