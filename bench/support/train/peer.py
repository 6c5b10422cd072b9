"""One training run of a peer in a process of its own. The argument is a ContenderRun as JSON; prints one line of JSON."""

import json
import resource
import sys
import time

import numpy as np

run = json.loads(sys.argv[1])
data, threads, rounds, leaves = run["data"], run["threads"], run["rounds"], run["leaves"]
n, columns, classes = data["rows"], data["columns"], data["classes"]
x = np.fromfile(data["path"] + ".f32", dtype=np.float32).reshape(-1, columns)
y = np.fromfile(data["path"] + ".u8", dtype=np.uint8)
train, labels, test = x[:n], y[:n], x[n:]


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(work):
    wall, used = time.perf_counter(), cpu()
    result = work()
    return result, time.perf_counter() - wall, cpu() - used


name = run["contender"]
if name.startswith("lightgbm"):
    import lightgbm

    version = lightgbm.__version__
    settings = dict(
        objective="binary" if classes == 2 else "multiclass",
        num_leaves=leaves, learning_rate=0.1, max_bin=255, min_data_in_leaf=20, lambda_l2=0.0,
        num_threads=threads, verbose=-1, use_quantized_grad=name == "lightgbm-quantized",
    )
    if classes > 2:
        settings["num_class"] = classes
    rows = lightgbm.Dataset(train, labels, params=settings)
    _, _, binning = timed(rows.construct)
    model, wall, used = timed(lambda: lightgbm.train(settings, rows, rounds))
    predict = lambda: model.predict(test)
elif name == "xgboost":
    import xgboost

    version = xgboost.__version__
    settings = dict(
        objective="binary:logistic" if classes == 2 else "multi:softprob", tree_method="hist",
        grow_policy="lossguide", max_leaves=leaves, max_depth=0, eta=0.1, max_bin=256, reg_lambda=0.0,
        min_child_weight=1e-3, nthread=threads,
    )
    if classes > 2:
        settings["num_class"] = classes
    rows, _, binning = timed(lambda: xgboost.QuantileDMatrix(train, labels, max_bin=256, nthread=threads))
    model, wall, used = timed(lambda: xgboost.train(settings, rows, rounds))
    predict = lambda: model.predict(xgboost.DMatrix(test))
else:
    import sklearn
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper

    version = sklearn.__version__
    # The learner bins inside fit: what binning takes is measured by itself and taken off.
    _, binning_wall, binning = timed(
        lambda: _BinMapper(n_bins=256, n_threads=threads).fit_transform(train.astype(np.float64))
    )
    learner = HistGradientBoostingClassifier(
        max_iter=rounds, max_leaf_nodes=leaves, learning_rate=0.1, max_bins=255, min_samples_leaf=20,
        early_stopping=False,
    )
    model, wall, used = timed(lambda: learner.fit(train, labels))
    wall, used = wall - binning_wall, used - binning
    predict = lambda: model.predict_proba(test)[:, 1] if classes == 2 else model.predict_proba(test)

memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
np.ascontiguousarray(predict(), dtype=np.float64).tofile(run["out"])
print(json.dumps(dict(wall=wall, cpu=used, binningCpu=binning, memoryMiB=memory, version=version)))
