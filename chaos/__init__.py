"""Payments through the whole system while it is being broken, and what the PSPs' books say afterwards."""
