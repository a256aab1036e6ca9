"""What payers see, in a real browser. A package, so that its conftest.py stands beside the one of all tests."""
