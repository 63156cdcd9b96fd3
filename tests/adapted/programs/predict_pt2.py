"""Predict rows of numbers by an exported learner: needs torch alone.

    python predict_pt2.py adapted.pt2 NUMBER [NUMBER ..]

Each number is a row of one feature. Prints a line of JSON: the predictions.
"""

import json
import sys

import torch

files = {"description.json": ""}
network = torch.export.load(sys.argv[1], extra_files=files).module()
about = json.loads(files["description.json"])
inputs, outputs = about["inputs"], about["outputs"]
assert (inputs["kind"], outputs["kind"], inputs["shape"]) == ("numbers", "numbers", ["rows", 1])

x = torch.tensor([[float(word)] for word in sys.argv[2:]], dtype=getattr(torch, inputs["type"]))
print(json.dumps(network(x)[:, 0].tolist()))
assert "metaloop" not in sys.modules
