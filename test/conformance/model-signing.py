"""Runs the model_signing command for each line of stdin, a JSON list of arguments; answers with its exit code and output"""
import contextlib
import io
import json
import sys
import traceback

from model_signing._cli import main

answers = sys.stdout
for line in sys.stdin:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            main(json.loads(line), prog_name="model_signing")
            code = 0
        except SystemExit as ended:
            code = 0 if ended.code is None else ended.code
        except Exception:
            traceback.print_exc()
            code = 1
    print(json.dumps({"code": code, "output": output.getvalue()}), file=answers, flush=True)
