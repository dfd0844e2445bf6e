"""Features in, positions out: a Heimdall model with numpy and onnxruntime alone.

python predict_onnx.py model.onnx                 what the model expects
python predict_onnx.py model.onnx features.npy    one position per row of (batch, receivers, 128, 32)
python predict_onnx.py model-iq.onnx iq.npz       of a model that takes IQ: arrays named as its inputs
"""
# ruff: noqa: INP001, PLR2004, T201 - a script that prints

import json
import sys

import numpy as np
import onnxruntime as ort

if len(sys.argv) < 2:
    sys.exit(__doc__)
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
properties = session.get_modelmeta().custom_metadata_map.items()
about = {k.removeprefix("heimdall."): json.loads(v) for k, v in properties if k.startswith("heimdall.")}

print(f"{about['name']} ({about['run_name']}), trained on {about['dataset']}")
print(f"input: {about['input']}")
for place, receiver in enumerate(about["receivers"]):
    print("  receiver {0}: {name} at {latitude}, {longitude}, {altitude_m} m".format(place, **receiver))
for rows, meaning in about["rows"].items():
    print(f"  rows {rows}: {meaning}")
print(f"  front end: {about['features']}, positions from {about['origin']} (latitude, longitude)")
for name, meaning in about["outputs"].items():
    print(f"output {name}: {meaning}")

if len(sys.argv) > 2:
    found, names = np.load(sys.argv[2]), [wanted.name for wanted in session.get_inputs()]
    given = dict(found) if sys.argv[2].endswith(".npz") else {"features": found}
    if set(given) != set(names):
        sys.exit(f"this model takes {', '.join(names)}, not {', '.join(given)}")
    feeds = {name: values.astype(np.float32) for name, values in given.items()}
    positions, uncertainties = session.run(["positions", "uncertainties"], feeds)
    for (latitude, longitude), (east_m, north_m) in zip(positions, uncertainties, strict=True):
        print(f"{latitude:.5f}, {longitude:.5f} +- {east_m:.0f} m east, {north_m:.0f} m north")
