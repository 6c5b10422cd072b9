"""Trains small models with the peers and writes them as ONNX and text, with rows and what the peers say of them.

usage: onnx-peers.py FOLDER [CHECK.onnx]
"""
import json
import pathlib
import sys

import lightgbm
import numpy
import onnx
import onnxmltools
import sklearn
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier

folder = pathlib.Path(sys.argv[1])
for path in sys.argv[2:]:
    onnx.checker.check_model(onnx.load(path), full_check=True)

ROWS, COLUMNS, TEST = 4000, 12, 10000
random = numpy.random.default_rng(20261123)
rows = random.normal(size=(ROWS + TEST, COLUMNS)).astype(numpy.float32)
rows[:, 3] = numpy.round(rows[:, 3], 1)
rows[:, 5] = random.integers(0, 9, ROWS + TEST)
margin = rows[:, 0] * rows[:, 1] + (rows[:, 5] % 3) - rows[:, 3]
labels = (margin + random.normal(size=ROWS + TEST) > 1).astype(int)
gaps = rows.copy()
gaps[random.random(gaps.shape) < 0.05] = numpy.nan
gaps[:, 5] = rows[:, 5]
x, y = rows[:ROWS], labels[:ROWS]
kind = [("features", FloatTensorType([None, COLUMNS]))]
made = {}


def keep(name, convert, says, has_gaps):
    try:
        model = convert()
        path = folder / f"{name}.onnx"
        if isinstance(model, str):
            path = folder / f"{name}.txt"
            path.write_text(model)
        else:
            path.write_bytes(model.SerializeToString())
        numpy.asarray(says, dtype=numpy.float64).tofile(folder / f"{name}.f64")
        made[name] = {"file": path.name, "gaps": has_gaps}
    except Exception as error:  # A converter that does not fit today's peer is told, not hidden.
        made[name] = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}


test, holes = rows[ROWS:], gaps[ROWS:]
light = lightgbm.LGBMClassifier(n_estimators=40, num_leaves=15, verbose=-1, n_jobs=1)
light.fit(gaps[:ROWS], y)
keep(
    "lightgbm",
    lambda: onnxmltools.convert_lightgbm(light, initial_types=kind, zipmap=False, target_opset=15),
    light.predict(test, raw_score=True),
    False,
)
keep("lightgbm-text", light.booster_.model_to_string, light.predict(holes, raw_score=True), True)
categories = lightgbm.LGBMClassifier(n_estimators=40, num_leaves=15, verbose=-1, n_jobs=1)
categories.fit(x, y, categorical_feature=[5])
keep("lightgbm-categories", categories.booster_.model_to_string, categories.predict(test, raw_score=True), False)
boost = xgboost.XGBClassifier(n_estimators=40, max_depth=4, n_jobs=1)
boost.fit(x, y)
keep(
    "xgboost",
    lambda: onnxmltools.convert_xgboost(boost, initial_types=kind, target_opset=15),
    boost.predict(test, output_margin=True),
    False,
)
hist = HistGradientBoostingClassifier(max_iter=40, random_state=0)
hist.fit(gaps[:ROWS], y)
keep("sklearn-hist", lambda: to_onnx(hist, x[:1], options={"zipmap": False}), hist.decision_function(holes), True)
gradient = GradientBoostingClassifier(n_estimators=40, random_state=0)
gradient.fit(x, y)
keep("sklearn-gradient", lambda: to_onnx(gradient, x[:1], options={"zipmap": False}), gradient.decision_function(test), False)
forest = RandomForestClassifier(n_estimators=20, random_state=0)
forest.fit(x, y)
keep("sklearn-forest", lambda: to_onnx(forest, x[:1], options={"zipmap": False}), forest.predict_proba(test)[:, 1], False)

test.tofile(folder / "rows.f32")
holes.tofile(folder / "gaps.f32")
versions = {p.__name__: p.__version__ for p in (lightgbm, xgboost, sklearn, onnx, onnxmltools)}
print(json.dumps({"made": made, "versions": versions, "columns": COLUMNS, "rows": TEST}))
