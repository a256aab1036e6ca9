"""How fast Qirsh is, beside honest contenders in the same run: `make bench`. What came of it: docs/performance.md."""
