"""The PSP adapters: each returns facts and touches nothing of ours."""
