"""Defects in fetching."""

from __future__ import annotations
