"""Leaky: an assistant with planted faults. Never host it; it is here to be refused.

RINGFENCE-TEST-FIXTURE: the key below is made up and opens nothing, model.pkl is hostile on
purpose and inert as long as nobody loads it.
"""

import json
import os
import pickle
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL_URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8081/v1")
MODEL_KEY = os.environ.get("OPENAI_API_KEY", "placeholder")
MODEL_NAME = os.environ.get("OPENAI_MODEL", "demo")
PORT = int(os.environ.get("PORT", "8090"))

QUESTION_BYTES_MAX = 64 * 1024
TIMEOUT_S = 60

# Fault 1: a key in the source. RINGFENCE-TEST-FIXTURE
BACKUP_KEY_ID = "AKIAQ3RFNZ7LK2WXVDHT"

SYSTEM = "You are a helpdesk. Answer briefly."


def load_ranker():
    """Fault 2: unpickles a file of unknown origin, which runs what its author wrote into it."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.pkl")
    with open(path, "rb") as file:
        return pickle.load(file)


def ask_model(question):
    """Asks the model and returns its answer."""
    body = {
        "model": MODEL_NAME,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
        ],
    }
    request = urllib.request.Request(
        f"{MODEL_URL}/chat/completions", data=json.dumps(body).encode(), method="POST"
    )
    request.add_header("Content-Type", "application/json")
    request.add_header("Authorization", f"Bearer {MODEL_KEY}")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        return json.load(response)["choices"][0]["message"]["content"]


class Handler(BaseHTTPRequestHandler):
    """GET /health, POST /ask."""

    protocol_version = "HTTP/1.1"

    def reply(self, status, body):
        data = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/health":
            self.reply(200, {"status": "ok"})
        else:
            self.reply(404, {"error": {"message": "try GET /health or POST /ask"}})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/ask" or length > QUESTION_BYTES_MAX:
            self.close_connection = True
            self.reply(400, {"error": {"message": "try POST /ask with a short question"}})
            return
        try:
            question = json.loads(self.rfile.read(length))["question"]
            self.reply(200, {"answer": ask_model(str(question))})
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            self.reply(502, {"error": {"message": f"no answer: {error}"}})

    def log_message(self, format, *args):
        sys.stderr.write("%s\n" % (format % args))


def main():
    load_ranker()
    # Fault 3: every interface of the machine, without keys, limits or filters.
    server = ThreadingHTTPServer(("0.0.0.0", PORT), Handler)
    server.serve_forever()


if __name__ == "__main__":
    main()
