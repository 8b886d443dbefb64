"""Reputation: MeritRank on the feedback graph."""
