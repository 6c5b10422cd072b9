"""Asks a running server what it is, with the clients of the tritonclient package, and tells the answers as JSON."""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from tritonclient.utils import InferenceServerException

HTTP, GRPC, KEY, OPERATOR, MODEL, VERSION = sys.argv[1:7]
ROWS = np.array(json.loads(sys.argv[7]), dtype=np.float32)
OUTPUTS = ["probability", "verdict", "kind"]
# The client writes into the headers it is given: each call gets its own.
viewer = {"authorization": f"Bearer {KEY}"}
operator = {"authorization": f"Bearer {OPERATOR}"}


def refusal(call):
    try:
        call()
    except InferenceServerException as error:
        return {"status": str(error.status()), "message": error.message()}
    return None


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else float(value)


def shown(result):
    told = {}
    for name in OUTPUTS:
        values = result.as_numpy(name)
        told[name] = [plain(value) for value in values]
    return told


def ask_http():
    client = http_client.InferenceServerClient(HTTP, concurrency=1)
    data = http_client.InferInput("features", list(ROWS.shape), "FP32")

    def infer(binary_in, binary_out, model=MODEL, version="", **more):
        data.set_data_from_numpy(ROWS, binary_data=binary_in)
        outputs = None
        if binary_out is not None:
            outputs = [http_client.InferRequestedOutput(n, binary_data=binary_out) for n in OUTPUTS]
        return client.infer(model, [data], model_version=version, outputs=outputs, headers=dict(viewer), **more)

    def narrow():
        short = http_client.InferInput("features", [1, 3], "FP32")
        short.set_data_from_numpy(np.zeros((1, 3), dtype=np.float32))
        return client.infer(MODEL, [short], headers=dict(viewer))

    def file_override():
        content = {"file:1/model.onnx": b"anything"}
        client.load_model(MODEL, headers=dict(operator), config="{}", files=content)

    answer = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(headers=dict(viewer)),
        "modelReady": client.is_model_ready(MODEL, headers=dict(viewer)),
        "versionReady": client.is_model_ready(MODEL, VERSION, headers=dict(viewer)),
        "otherReady": client.is_model_ready("none", headers=dict(viewer)),
        "server": client.get_server_metadata(headers=dict(viewer)),
        "model": client.get_model_metadata(MODEL, headers=dict(viewer)),
        "json": shown(infer(False, False)),
        "binary": shown(infer(True, True, request_id="42", version=VERSION, priority=2, timeout=2_000_000)),
        "mixed": shown(infer(True, False)),
        "implicit": shown(infer(True, None)),
        "id": infer(True, True, request_id="42").get_response()["id"],
        "parallel": shown(client.async_infer(MODEL, [data], headers=dict(viewer)).get_result()),
        "statistics": client.get_inference_statistics(MODEL, headers=dict(viewer)),
        "everyStatistic": client.get_inference_statistics(headers=dict(viewer)),
        "index": client.get_model_repository_index(headers=dict(viewer)),
        "errors": {
            "unknown": refusal(lambda: infer(True, True, model="none")),
            "version": refusal(lambda: infer(True, True, version="9.9.9")),
            "width": refusal(narrow),
            "key": refusal(lambda: client.get_server_metadata()),
            "role": refusal(lambda: client.unload_model(MODEL, headers=dict(viewer))),
            "override": refusal(file_override),
        },
    }
    client.unload_model(MODEL, headers=dict(operator))
    answer["unloaded"] = client.is_model_ready(MODEL, headers=dict(viewer))
    answer["indexUnloaded"] = client.get_model_repository_index(headers=dict(viewer))
    client.load_model(MODEL, headers=dict(operator))
    answer["loaded"] = client.is_model_ready(MODEL, headers=dict(viewer))
    client.close()
    return answer


def ask_grpc():
    client = grpc_client.InferenceServerClient(GRPC)
    data = grpc_client.InferInput("features", list(ROWS.shape), "FP32")
    data.set_data_from_numpy(ROWS)
    outputs = [grpc_client.InferRequestedOutput(n) for n in OUTPUTS]

    def infer(model=MODEL, **more):
        more.setdefault("headers", dict(viewer))
        return client.infer(model, [data], outputs=outputs, **more)

    def typed():
        request = grpc_client.service_pb2.ModelInferRequest(model_name=MODEL, id="typed")
        tensor = request.inputs.add(name="features", datatype="FP32", shape=list(ROWS.shape))
        tensor.contents.fp32_contents.extend(ROWS.flatten().tolist())
        response = client._client_stub.ModelInfer(request, metadata=tuple(viewer.items()))
        by_name = {o.name: o.contents for o in response.outputs}
        return {
            "probability": list(by_name["probability"].fp32_contents),
            "verdict": [b.decode() for b in by_name["verdict"].bytes_contents],
            "kind": [b.decode() for b in by_name["kind"].bytes_contents],
        }

    def as_json(call):
        return call(headers=dict(viewer), as_json=True)

    def stream():
        results = queue.Queue()
        client.start_stream(lambda result, error: results.put((result, error)), headers=dict(viewer))
        told = []
        try:
            for i in range(20):
                model = "none" if i == 7 else MODEL
                client.async_stream_infer(model, [data], request_id=str(i), outputs=outputs)
            for _ in range(20):
                result, error = results.get(timeout=20)
                if error is not None:
                    told.append({"error": error.message()})
                else:
                    told.append({"id": result.get_response().id, "verdict": shown(result)["verdict"]})
        finally:
            client.stop_stream()
        return told

    answer = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(headers=dict(viewer)),
        "modelReady": client.is_model_ready(MODEL, headers=dict(viewer)),
        "versionReady": client.is_model_ready(MODEL, VERSION, headers=dict(viewer)),
        "otherReady": client.is_model_ready("none", headers=dict(viewer)),
        "server": client.get_server_metadata(headers=dict(viewer), as_json=True),
        "model": client.get_model_metadata(MODEL, headers=dict(viewer), as_json=True),
        "binary": shown(infer(request_id="42", model_version=VERSION, priority=2, timeout=2_000_000)),
        "deadline": shown(infer(client_timeout=20)),
        "id": infer(request_id="42").get_response().id,
        "typed": typed(),
        "stream": stream(),
        "statistics": client.get_inference_statistics(MODEL, headers=dict(viewer), as_json=True),
        "index": client.get_model_repository_index(headers=dict(viewer), as_json=True),
        "errors": {
            "unknown": refusal(lambda: infer(model="none")),
            "version": refusal(lambda: infer(model_version="9.9.9")),
            "key": refusal(lambda: client.get_server_metadata()),
            "wrong": refusal(lambda: client.get_server_metadata(headers={"authorization": "Bearer no"})),
            "role": refusal(lambda: client.unload_model(MODEL, headers=dict(viewer))),
            "override": refusal(
                lambda: client.load_model(MODEL, headers=dict(operator), config="{}", files={"file:1/m": b"x"})
            ),
        },
    }
    client.unload_model(MODEL, headers=dict(operator))
    answer["unloaded"] = client.is_model_ready(MODEL, headers=dict(viewer))
    client.load_model(MODEL, headers=dict(operator))
    answer["loaded"] = client.is_model_ready(MODEL, headers=dict(viewer))
    client.close()
    return answer


print(json.dumps({"http": ask_http(), "grpc": ask_grpc()}))
