"""leaderboard of preimage."""
