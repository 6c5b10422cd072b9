"""Writes the values that shap gives for each row: model.json rows.f32 columns out.f64"""
import json
import sys
import time

import numpy
import shap

model_path, rows_path, columns, out_path = sys.argv[1:]
trees = json.load(open(model_path))["trees"]
for tree in trees:
    for name, kind in [
        ("children_left", numpy.int32),
        ("children_right", numpy.int32),
        ("children_default", numpy.int32),
        ("features", numpy.int32),
        ("thresholds", numpy.float64),
        ("values", numpy.float64),
        ("node_sample_weight", numpy.float64),
    ]:
        tree[name] = numpy.array(tree[name], dtype=kind)
rows = numpy.fromfile(rows_path, dtype=numpy.float32).reshape(-1, int(columns)).astype(numpy.float64)
explainer = shap.TreeExplainer(
    {"trees": trees, "input_dtype": numpy.float64, "internal_dtype": numpy.float64},
    feature_perturbation="tree_path_dependent",
)
started = time.process_time()
values = explainer.shap_values(rows, check_additivity=False)
spent = time.process_time() - started
numpy.ascontiguousarray(values, dtype=numpy.float64).tofile(out_path)
print(f"shap {shap.__version__} {spent / len(rows) * 1e6:.0f} us a row")
