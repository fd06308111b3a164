"""A user's runtime in Python: counts the words of texts. Served as ``models/words/1/model.py``."""

import numpy as np


class Model:
    def load(self, folder, threads, parameters):
        self.least = int(parameters.get("least", "1"))  # letters of a word that counts

    def inputs(self):
        return [("text", "BYTES", (-1,))]

    def outputs(self):
        return [("words", "INT64", (-1,))]

    def run(self, inputs):
        counts = [sum(len(word) >= self.least for word in text.decode().split()) for text in inputs["text"]]
        return {"words": np.array(counts, np.int64)}

    def close(self):
        pass
