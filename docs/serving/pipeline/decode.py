"""The first step: decodes an image in any format that Pillow reads, and resizes it to 64 x 64."""

import io

import numpy as np
from PIL import Image

SIDE = 64
MOST_PIXELS = 20_000_000


class Model:
    def load(self, folder, threads, parameters):
        pass

    def inputs(self):
        return [("bytes", "BYTES", (1,))]

    def outputs(self):
        return [("pixels", "FP32", (1, 3, SIDE, SIDE)), ("size", "INT64", (2,))]

    def run(self, inputs):
        try:
            image = Image.open(io.BytesIO(inputs["bytes"][0]))
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"the image has more than {MOST_PIXELS} pixels")
            rgb = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        except (OSError, Image.DecompressionBombError) as error:
            raise ValueError(f"the image cannot be decoded: {error}") from None
        pixels = np.asarray(rgb, np.float32).transpose(2, 0, 1)[None] / 255
        return {"pixels": pixels, "size": np.array([image.width, image.height])}

    def close(self):
        pass
