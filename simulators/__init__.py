"""The hardware and the outside world that are not here. Imports nothing of ours: it speaks bytes and HTTP."""
