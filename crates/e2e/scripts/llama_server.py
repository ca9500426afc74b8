"""Runs a real llama.cpp server on 127.0.0.1. Usage: llama_server.py MODEL PORT

Prints `ready` once it answers, and ends when its standard input is closed.
"""

import json
import sys
import urllib.request

import xllamacpp


def main(model, port):
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx = 512
    parameters.n_parallel = 2
    parameters.cpuparams.n_threads = 1
    server = xllamacpp.Server(parameters)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=60) as response:
        json.load(response)
    print("ready", flush=True)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
