"""The kubelet's gRPC interfaces; `python -m fake_npu.api.generate` makes the modules from the .proto files here."""
