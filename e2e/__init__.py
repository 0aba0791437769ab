"""The checks: one file a capability, one function a behaviour."""
