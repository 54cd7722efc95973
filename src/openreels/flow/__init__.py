"""Flow matching: path, schedule, guidance, and one sampling loop."""
