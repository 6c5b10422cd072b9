"""LightGBM and an isolation forest on the rows that bench/quality.ts wrote. One JSON line: scores lie in files beside them."""

import json
import sys
import time
from pathlib import Path

import lightgbm
import numpy
import sklearn
from sklearn.ensemble import IsolationForest

folder = Path(sys.argv[1])
meta = json.loads((folder / "meta.json").read_text())
columns, categories = meta["columns"], meta["categories"]


def values(name):
    return numpy.fromfile(folder / f"{name}.f32", dtype="<f4").reshape(-1, columns)


def one_hot(rows):
    parts = []
    for c, size in enumerate(categories):
        if size == 0:
            parts.append(numpy.nan_to_num(rows[:, [c]]))
        else:
            parts.append((rows[:, [c]] == numpy.arange(size)).astype("f4"))
    return numpy.hstack(parts)


train, labels = values("train"), numpy.fromfile(folder / "train.u8", dtype="u1")
started = time.process_time()
trees = lightgbm.LGBMClassifier(n_estimators=300, num_leaves=63, random_state=42, n_jobs=1, verbose=-1)
trees.fit(train, labels, categorical_feature=[c for c, size in enumerate(categories) if size > 0])
trees_seconds = time.process_time() - started

started = time.process_time()
normal = one_hot(train[labels == 0])
forest = IsolationForest(n_estimators=200, random_state=42, n_jobs=1).fit(normal)
cut = numpy.percentile(-forest.score_samples(normal), 95)
forest_seconds = time.process_time() - started

for test in meta["tests"]:
    rows = values(test)
    trees.predict_proba(rows)[:, 1].astype("<f4").tofile(folder / f"{test}.trees.f32")
    (-forest.score_samples(one_hot(rows))).astype("<f4").tofile(folder / f"{test}.forest.f32")

print(
    json.dumps(
        {
            "lightgbm": lightgbm.__version__,
            "sklearn": sklearn.__version__,
            "cut": float(cut),
            "treesSeconds": trees_seconds,
            "forestSeconds": forest_seconds,
        }
    )
)
