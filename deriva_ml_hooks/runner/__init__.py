"""Running what was accepted under the gate, with its record."""
