"""An assistant that passes MCP on to its exec service, and tries out the files of the exec API."""

import http.server
import json
import os
import urllib.error
import urllib.request

EXEC = os.environ["RINGFENCE_EXEC_URL"]


def call(method, path, data=None):
    """Status and octets of one call to the exec service."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = urllib.request.Request(EXEC + path, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def made(body=b"{}"):
    status, answer = call("POST", "/v1/sandboxes", body)
    return json.loads(answer)["id"] if status == 201 else status


def run(sandbox, *command):
    body = json.dumps({"command": command}).encode()
    return call("POST", f"/v1/sandboxes/{sandbox}/exec", body)[1].decode()


def files():
    """A file goes in, is changed by a program, comes out, and lives on in another sandbox."""
    content = bytes(range(256)) * 4
    first = made()
    of = lambda sandbox, path: f"/v1/sandboxes/{sandbox}/files/{path}"
    seen = {"put": call("PUT", of(first, "tmp/data/a.bin"), content)[0]}
    run(first, "sh", "-c", "cat /tmp/data/a.bin /tmp/data/a.bin > /tmp/data/b.bin")
    status, octets = call("GET", of(first, "tmp/data/b.bin"))
    seen["get"] = [status, octets == content * 2]
    seen["absent"] = call("GET", of(first, "tmp/none"))[0]
    seen["read_only"] = call("PUT", of(first, "usr/evil"), b"x")[0]
    seen["upward"] = call("GET", of(first, "tmp/..%2f..%2fetc/passwd"))[0]
    run(first, "ln", "-s", "/proc/1/environ", "/tmp/link")
    seen["link"] = call("GET", of(first, "tmp/link"))[0]
    run(first, "rm", "/tmp/link")
    run(first, "sh", "-c", "head -c 5000000 /dev/zero > /tmp/large")
    seen["large"] = call("GET", of(first, "tmp/large"))[0]
    run(first, "rm", "/tmp/large")
    status, answer = call("POST", f"/v1/sandboxes/{first}/snapshot", b"")
    seen["snapshot"] = status
    name = json.loads(answer)["snapshot"]
    call("DELETE", f"/v1/sandboxes/{first}")
    second = made(json.dumps({"snapshot": name}).encode())
    status, octets = call("GET", of(second, "tmp/data/b.bin"))
    seen["restored"] = [status, octets == content * 2]
    seen["fresh"] = call("GET", of(made(), "tmp/data/b.bin"))[0]
    seen["unknown"] = made(b'{"snapshot": "snap-00"}')
    return seen


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/files":
            self.answer(200, json.dumps(files()).encode())
        else:
            self.answer(*call("GET", self.path))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.answer(*call("POST", self.path, body))


http.server.ThreadingHTTPServer(("127.0.0.1", 8090), Handler).serve_forever()
