"""The last step: the cells of a heat map that are hot, as boxes in pixels of the image."""

import numpy as np


class Model:
    def load(self, folder, threads, parameters):
        self.least = float(parameters.get("least", "0.5"))

    def inputs(self):
        return [("heat", "FP32", (1, 1, -1, -1)), ("size", "INT64", (2,))]

    def outputs(self):
        return [("boxes", "INT64", (-1, 4)), ("scores", "FP32", (-1,))]

    def run(self, inputs):
        heat = inputs["heat"][0, 0]
        rows, columns = np.nonzero(heat >= self.least)
        width, height = inputs["size"] / heat.shape[::-1]
        corners = [columns * width, rows * height, (columns + 1) * width, (rows + 1) * height]
        return {"boxes": np.rint(np.stack(corners, axis=1)).astype(np.int64), "scores": heat[rows, columns]}

    def close(self):
        pass
