"""Defects in sending."""

from __future__ import annotations
