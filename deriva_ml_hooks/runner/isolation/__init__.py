"""Running in a temporary worktree: HEAD while editing goes on, and a recorded commit again."""
