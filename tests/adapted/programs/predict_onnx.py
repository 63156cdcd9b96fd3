"""Classify image files by an exported learner: needs onnxruntime, Pillow and numpy alone.

    python predict_onnx.py adapted.onnx IMAGE [IMAGE ..]

Prints a line of JSON: of each image the probability of each class.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
about = json.loads(session.get_modelmeta().custom_metadata_map["description.json"])
inputs, outputs = about["inputs"], about["outputs"]
assert (inputs["kind"], outputs["kind"]) == ("image", "probabilities"), about

rows = []
for path in sys.argv[2:]:
    image = ImageOps.exif_transpose(Image.open(path)).convert(
        {1: "L", 3: "RGB"}[inputs["channels"]]
    )
    image = image.resize((inputs["width"], inputs["height"]), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.float64)
    pixels = 255 - pixels if inputs["is_inverted"] else pixels
    low, high = inputs["range"]
    values = low + pixels / 255 * (high - low)
    rows.append(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))

x = np.stack(rows).astype(inputs["type"])
(probabilities,) = session.run([outputs["name"]], {inputs["name"]: x})
print(
    json.dumps([dict(zip(outputs["classes"], row, strict=True)) for row in probabilities.tolist()])
)
assert not {"metaloop", "torch"} & set(sys.modules)
