"""Structures grown by a margin, and what lies outside of them."""
