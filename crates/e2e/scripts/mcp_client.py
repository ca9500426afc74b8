"""The reference MCP client against the exec service's `run_code`.

Usage: mcp_client.py URL KEY CA_FILE
Prints one JSON line with what it saw.
"""

import asyncio
import json
import ssl
import sys

import httpx2
import mcp
from mcp.client.streamable_http import streamable_http_client


def shown(result):
    text = "".join(piece.text for piece in result.content)
    return {"text": text, "error": result.is_error, "structured": result.structured_content}


async def main(url, key, ca_file):
    trusted = ssl.create_default_context(cafile=ca_file)
    headers = {"Authorization": f"Bearer {key}"}
    seen = {}
    async with (
        httpx2.AsyncClient(verify=trusted, headers=headers, timeout=30) as http,
        streamable_http_client(url, http_client=http) as (read, write, *_),
        mcp.ClientSession(read, write) as session,
    ):
        hello = await session.initialize()
        seen["server"] = hello.server_info.name
        seen["protocol"] = hello.protocol_version
        tools = (await session.list_tools()).tools
        seen["tools"] = [tool.name for tool in tools]
        run = lambda **arguments: session.call_tool("run_code", arguments)
        seen["python"] = shown(await run(code="print(6 * 7)"))
        seen["shell"] = shown(await run(code="cat; exit 3", language="shell", stdin="abc"))
        seen["slow"] = shown(await run(code="while True: pass", timeout_ms=500))
        reach = "import socket; socket.create_connection(('1.1.1.1', 53), 2)"
        seen["network"] = shown(await run(code=reach))
        try:
            await run(code=7)
            seen["bad"] = "accepted"
        except mcp.MCPError as error:
            seen["bad"] = error.error.code
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
