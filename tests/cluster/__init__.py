"""Tests of the harness on a real engine and a real cluster."""
