"""Asks a door inside a sandbox again and again and prints every change of its answer.

Run in the network namespace of the sandbox. It ends when its input does.
"""

import http.client
import select
import sys

port = int(sys.argv[1])
last = None
while not select.select([sys.stdin], [], [], 0.005)[0]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/models")
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        code = "run/server-restarting" if "run/server-restarting" in text else ""
        seen = f"{response.status} {code}".strip()
    except OSError as error:
        seen = type(error).__name__
    except http.client.HTTPException as error:
        seen = type(error).__name__
    finally:
        connection.close()
    if seen != last:
        print(seen, flush=True)
        last = seen
