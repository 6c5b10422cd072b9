"""Trains a network with scikit-learn on vectors, and writes it as ONNX in the ways that an import takes or refuses.

usage: import-onnx.py FOLDER COLUMNS; FOLDER holds rows.f32 (row-major) and labels.u8, and gets *.onnx and says.f64.
"""

import json
import pathlib
import sys

import numpy
import onnx
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

folder, columns = pathlib.Path(sys.argv[1]), int(sys.argv[2])
rows = numpy.fromfile(folder / "rows.f32", dtype=numpy.float32).reshape(-1, columns)
labels = numpy.fromfile(folder / "labels.u8", dtype=numpy.uint8)
net = make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=80, random_state=0))
net.fit(rows, labels)

plain = to_onnx(net, rows[:1], options={"zipmap": False})
onnx.save(plain, folder / "net.onnx")
net.predict_proba(rows)[:, 1].astype(numpy.float64).tofile(folder / "says.f64")
onnx.save(to_onnx(net, rows[:1]), folder / "zipmap.onnx")

outside = onnx.ModelProto.FromString(plain.SerializeToString())
for tensor in outside.graph.initializer:
    # Only raw values can be kept elsewhere.
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
onnx.save(
    outside,
    folder / "outside.onnx",
    save_as_external_data=True,
    location="weights.bin",
    size_threshold=0,
    convert_attribute=True,
)
custom = onnx.ModelProto.FromString(plain.SerializeToString())
custom.graph.node[0].domain = "com.example"
custom.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
onnx.save(custom, folder / "custom.onnx")
print(
    json.dumps(
        {
            "producer": f"{plain.producer_name} {plain.producer_version}",
            "irVersion": plain.ir_version,
            "opsets": {each.domain or "ai.onnx": each.version for each in plain.opset_import},
            "operators": [f"{each.domain or 'ai.onnx'}:{each.op_type}" for each in plain.graph.node],
        }
    )
)
