"""Runs mail clients through scenario files against the fake mail servers, and judges what they did."""
