"""The inference server against Triton: CPU time of the server per request, and throughput."""
