"""Segment, count and identify in survey pictures, with the methods that won the competitions."""

from __future__ import annotations

__version__ = "0.1.0"
