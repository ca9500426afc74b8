"""Helpdesk: a small assistant that answers questions and can run code.

It uses the standard library only. Three things come from its environment:

OPENAI_BASE_URL     the OpenAI-compatible door of the gateway
OPENAI_API_KEY      a placeholder; the door itself identifies this assistant
RINGFENCE_EXEC_URL  the door of the exec service, which runs code in a fresh sandbox
"""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL_URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8081/v1")
MODEL_KEY = os.environ.get("OPENAI_API_KEY", "placeholder")
MODEL_NAME = os.environ.get("OPENAI_MODEL", "demo")
EXEC_URL = os.environ.get("RINGFENCE_EXEC_URL", "http://127.0.0.1:8082")
PORT = int(os.environ.get("PORT", "8090"))

QUESTION_BYTES_MAX = 64 * 1024
TOOL_TURNS_MAX = 4
TIMEOUT_S = 60
FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)

SYSTEM = (
    "You are the helpdesk of this project. Answer from its documentation, name the file and "
    "line you rely on, and say so when you do not know."
)

RUN_CODE = {
    "type": "function",
    "function": {
        "name": "run_code",
        "description": "Runs Python code in a fresh sandbox without network and returns its output.",
        "parameters": {
            "type": "object",
            "properties": {"code": {"type": "string"}},
            "required": ["code"],
        },
    },
}


class DoorError(Exception):
    """A door answered with an error; the text is fit to be shown."""

    def __init__(self, status, body):
        super().__init__(f"status {status}")
        self.status = status
        self.body = body


def call(method, url, body=None, headers=None):
    """One HTTP call to a door; returns the open response."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    request.add_header("Content-Type", "application/json")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        try:
            raise DoorError(error.code, json.loads(text)) from None
        except json.JSONDecodeError:
            raise DoorError(error.code, {"error": {"message": text}}) from None


def ask_model(messages):
    """Asks the model and returns its message."""
    body = {"model": MODEL_NAME, "messages": messages, "tools": [RUN_CODE]}
    headers = {"Authorization": f"Bearer {MODEL_KEY}"}
    with call("POST", f"{MODEL_URL}/chat/completions", body, headers) as response:
        return json.load(response)["choices"][0]["message"]


def events(response):
    """Yields (event, data) of a server-sent event stream."""
    event, data = "message", []
    for raw in response:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line == "":
            if data:
                yield event, json.loads("\n".join(data))
            event, data = "message", []
        elif line.startswith("event:"):
            event = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))


def run_code(code):
    """Runs code in a fresh sandbox: create, exec, delete."""
    with call("POST", f"{EXEC_URL}/v1/sandboxes", {}) as response:
        sandbox = json.load(response)["id"]
    result = {"stdout": "", "stderr": "", "exit": None}
    try:
        body = {"command": ["python3", "-c", code], "timeout_ms": 10_000}
        with call("POST", f"{EXEC_URL}/v1/sandboxes/{sandbox}/exec", body) as response:
            for event, data in events(response):
                if event in ("stdout", "stderr"):
                    result[event] += data["text"]
                elif event == "exit":
                    result["exit"] = data
    finally:
        call("DELETE", f"{EXEC_URL}/v1/sandboxes/{sandbox}").close()
    return result


def answer(question):
    """Answers one question, running code where the question or the model asks for it."""
    fenced = FENCE.search(question)
    if fenced:
        result = run_code(fenced.group(1))
        return {"answer": result["stdout"] or result["stderr"], "tool": {"run_code": result}}
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    used = []
    for _ in range(TOOL_TURNS_MAX):
        message = ask_model(messages)
        calls = message.get("tool_calls") or []
        if not calls:
            return {"answer": message.get("content") or "", "tool": {"run_code": used} if used else None}
        messages.append(message)
        for wanted in calls:
            arguments = json.loads(wanted["function"]["arguments"] or "{}")
            result = run_code(str(arguments.get("code", "")))
            used.append(result)
            messages.append(
                {"role": "tool", "tool_call_id": wanted["id"], "content": json.dumps(result)}
            )
    return {"answer": "The model asked for tools too many times.", "tool": {"run_code": used}}


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
        if self.path != "/ask":
            self.reply(404, {"error": {"message": "try POST /ask"}})
            return
        length = int(self.headers.get("Content-Length") or 0)
        if length > QUESTION_BYTES_MAX:
            self.close_connection = True
            self.reply(413, {"error": {"message": f"at most {QUESTION_BYTES_MAX} bytes"}})
            return
        try:
            question = json.loads(self.rfile.read(length))["question"]
        except (ValueError, KeyError, TypeError):
            self.reply(400, {"error": {"message": 'send {"question": "…"}'}})
            return
        try:
            self.reply(200, answer(str(question)))
        except DoorError as error:
            self.reply(error.status, error.body)
        except (OSError, ValueError, KeyError, IndexError) as error:
            self.reply(502, {"error": {"message": f"a door did not answer: {error}"}})

    def log_message(self, format, *args):
        # The path and status, never the question.
        sys.stderr.write("%s\n" % (format % args))


def main():
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    print(f"helpdesk listens on {PORT}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
