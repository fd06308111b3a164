"""Optional dependencies. The base installation contains what running a saved model needs."""
