"""What a notebook is: its cells and what their source says, and its bytes without outputs."""
