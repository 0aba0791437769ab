"""Wires the rooms together; holds no logic."""

pytest_plugins = ["fixtures.plugin", "fixtures.clusterfixtures", "fixtures.checkfixtures", "fixtures.restartfixtures"]
