"""What shows that the service keeps its promises under attack, over time and when things fail: fuzz, soak, chaos."""
