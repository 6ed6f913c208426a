"""A small MCP server on stdio whose first argument says what is odd about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

KIND = sys.argv[1]
# As it stands on the wire: spaces, escapes, other alphabets, members of other members' names.
SPACED = (
    '{ "description" : "Sucht \\u00fc ü \\"x\\"" ,"name":"search", "inputSchema":{"type": "object",'
    ' "properties":{"description":{"type":"string"},"name":{"a":[1, 2.50, "}"]}}}}'
)
BARE = '{"name":"bare","inputSchema":{}}'
PAGES = {None: (SPACED, '"nextCursor":"two"'), "two": (BARE, '"_meta":{}')}


def write(text: str) -> None:
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


def answer(request: dict[str, object], result: str) -> None:
    write(f'{{"result": {result} , "id":{json.dumps(request["id"])},"jsonrpc":"2.0"}}')


if KIND == "chatty":
    write("Starting \033[31mserver")
elif KIND == "silent":
    time.sleep(600)
elif KIND == "family":
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    with open(sys.argv[2], "w") as kept:
        kept.write(f"{os.getpid()} {child.pid}")
elif KIND == "endless":
    while True:
        sys.stdout.buffer.write(b"x" * 65536)

for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "initialize":
        write('{"jsonrpc":"2.0","method":"notifications/message","params":{}}')
        write('{"jsonrpc":"2.0","id":"s1","method":"ping"}')
        write('{"jsonrpc":"2.0","id":"s2","method":"roots/list"}')
        answer(
            message,
            '{"capabilities":{"tools":{},"prompts":{}},"protocolVersion":"2025-11-25",'
            '"serverInfo":{"name":"odd","version":"1"}}',
        )
    elif method == "tools/list" and KIND == "dying":
        sys.exit("no\nkey is set")
    elif method == "tools/list" and KIND == "refusing":
        write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": {"message": "no"}}))
    elif method == "tools/list" and KIND == "nameless":
        answer(message, '{"tools":[{"inputSchema":{}}]}')
    elif method == "tools/list" and KIND == "listless":
        answer(message, "[]")
    elif method == "tools/list" and KIND == "circling":
        answer(message, '{"tools":[],"nextCursor":"again"}')
    elif method == "tools/list":
        tool, rest = PAGES[message["params"].get("cursor")]
        answer(message, f'{{"tools" : [ {tool} ],{rest}}}')
    elif method == "prompts/list":
        answer(message, '{"prompts":[{"name":"one"},{"name":"two"}]}')
