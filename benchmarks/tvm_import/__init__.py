"""What TVM's own ONNX importer accepts: the models of the census as published, and after graph passes."""
