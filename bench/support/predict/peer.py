"""Prediction times of LightGBM, XGBoost and onnxruntime on one thread. Prints one line of JSON; writes the ONNX model."""

import ctypes
import json
import sys
import time

import lightgbm
import numpy as np
import onnxmltools
import onnxruntime
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

run = json.loads(sys.argv[1])
data, rounds, leaves = run["data"], run["rounds"], run["leaves"]
n, columns = data["rows"], data["columns"]
x = np.fromfile(data["path"] + ".f32", dtype=np.float32).reshape(-1, columns)
y = np.fromfile(data["path"] + ".u8", dtype=np.uint8)
train, labels, test = x[:n], y[:n], np.ascontiguousarray(x[n:])
rows = len(test)


def median_per_row(predict):
    predict()
    times = []
    for _ in range(7):
        start = time.process_time()
        predict()
        times.append((time.process_time() - start) / rows * 1e6)
    return sorted(times)[3]


def p50(predict):
    times = []
    for i in range(20000):
        start = time.perf_counter_ns()
        predict(i % rows)
        times.append(time.perf_counter_ns() - start)
    return sorted(times[2000:])[9000] / 1000


light = lightgbm.train(
    dict(objective="binary", num_leaves=leaves, learning_rate=0.1, num_threads=1, verbose=-1),
    lightgbm.Dataset(train, labels), rounds,
)
boosted = xgboost.train(
    dict(objective="binary:logistic", tree_method="hist", grow_policy="lossguide", max_leaves=leaves, max_depth=0,
         eta=0.1, nthread=1),
    xgboost.QuantileDMatrix(train, labels), rounds,
)
onnx = onnxmltools.convert_lightgbm(
    light, initial_types=[("input", FloatTensorType([None, columns]))], zipmap=False, target_opset=15
)
with open(run["onnx"], "wb") as file:
    file.write(onnx.SerializeToString())
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(run["onnx"], options, providers=["CPUExecutionProvider"])

# LightGBM's own call for one row, as a C program would make it.
library = lightgbm.basic._LIB
config = ctypes.c_void_p()
library.LGBM_BoosterPredictForMatSingleRowFastInit(
    light._handle, 0, 0, -1, 0, columns, b"num_threads=1", ctypes.byref(config)
)
length, result = ctypes.c_int64(), (ctypes.c_double * 1)()
address, step = test.ctypes.data, columns * 4
fast, length_at = library.LGBM_BoosterPredictForMatSingleRowFast, ctypes.byref(length)


def single(i):
    fast(config, ctypes.c_void_p(address + i * step), length_at, result)


print(json.dumps(dict(
    lightgbm=median_per_row(lambda: light.predict(test, num_threads=1)),
    xgboost=median_per_row(lambda: boosted.inplace_predict(test)),
    onnxruntime=median_per_row(lambda: session.run(None, {"input": test})),
    lightgbmSingle=p50(single),
    versions=dict(lightgbm=lightgbm.__version__, xgboost=xgboost.__version__, onnxruntime=onnxruntime.__version__),
)))
