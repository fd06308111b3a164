"""Compiled programs: run, profile, save and load. Needs neither onnx nor TVM's compiler."""
