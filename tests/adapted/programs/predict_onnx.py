"""Classify image files by an exported learner: needs onnxruntime, Pillow and numpy alone.

    python predict_onnx.py [--json] adapted.onnx IMAGE [IMAGE ..]

Prints each image's class with its probability; with --json the probability of each class.
"""

import argparse
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

parser = argparse.ArgumentParser(description="Classify image files by an exported learner.")
parser.add_argument("--json", action="store_true", help="print the probability of each class")
parser.add_argument("network", help="a file that metaloop has exported: adapted.onnx")
parser.add_argument("images", nargs="+", metavar="IMAGE")
arguments = parser.parse_args()

session = onnxruntime.InferenceSession(arguments.network)
about = json.loads(session.get_modelmeta().custom_metadata_map["description.json"])
inputs, outputs = about["inputs"], about["outputs"]
assert (inputs["kind"], outputs["kind"]) == ("image", "probabilities"), about

rows = []
for path in arguments.images:
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
answers = [dict(zip(outputs["classes"], row, strict=True)) for row in probabilities.tolist()]
if arguments.json:
    print(json.dumps(answers))
else:
    width = max(map(len, arguments.images))
    for path, answer in zip(arguments.images, answers, strict=True):
        label = max(answer, key=lambda name: answer[name])
        print(f"{path:{width}}  {answer[label]:6.1%}  {label}")
assert not {"metaloop", "torch"} & set(sys.modules)
