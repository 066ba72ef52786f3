"""The report of a campaign, for a manager: one self-contained page whose first sheet answers eight questions."""
