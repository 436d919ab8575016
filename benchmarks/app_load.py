"""Many browsers at once: what a page answers, how fast, and in how much memory.

    python benchmarks/app_load.py --sessions 50 -o load.json

Each session opens the page, sees its sample set and the model's own pictures, uploads twelve drawn faces of its own,
and moves a slider some times, waiting for each answer: by the requests that a browser makes, without a browser. A
session that sees another's pictures, or none, counts as an error. The server is a process of its own, whose resident
memory is asked every second.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import secrets
import statistics
import subprocess
import sys
import time
from typing import Any

import httpx
import numpy as np
import psutil

from common import setting, table, write_json
from transflow.pictures.drawn import draw_face

PICTURES = 12
API = "gradio_api/"


class Browser:
    """One session, by the requests that a browser makes."""

    def __init__(self, client: httpx.AsyncClient, config: dict[str, Any], seconds: dict[str, list[float]]) -> None:
        self.client, self.config, self.seconds = client, config, seconds
        self.session = secrets.token_hex(6)
        self.values = {c["id"]: c["props"].get("value") for c in config["components"]}
        self.ids = {c["props"].get("elem_id"): c["id"] for c in config["components"] if c["props"].get("elem_id")}

    def event(self, element: str | None, kind: str, output: str) -> dict[str, Any]:
        """The event of an element that fills an output."""
        source = self.ids.get(element)
        return next(
            d
            for d in self.config["dependencies"]
            if any(t[1] == kind and (source is None or t[0] == source) for t in d["targets"])
            and self.ids[output] in d["outputs"]
        )

    async def ask(self, what: str, event: dict[str, Any]) -> dict[int, Any]:
        """Call an event with the values of now; return the outputs, by component."""
        begin = time.perf_counter()
        data = [self.values.get(i) for i in event["inputs"]]
        body = {"data": data, "fn_index": event["id"], "session_hash": self.session, "trigger_id": None}
        answer = await self.client.post(f"{API}queue/join", json=body)
        answer.raise_for_status()
        number, found = answer.json()["event_id"], {}
        address = f"{API}queue/data"
        async with self.client.stream("GET", address, params={"session_hash": self.session}) as lines:
            async for line in lines.aiter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line[5:])
                if message.get("event_id") not in (None, number):
                    continue
                if message["msg"] == "log":
                    raise RuntimeError(message["log"])
                if message["msg"] in ("process_generating", "process_completed"):
                    for i, value in zip(event["outputs"], message["output"].get("data", []), strict=False):
                        if isinstance(value, str):  # not "as it was"
                            found[i] = value
                if message["msg"] == "process_completed":
                    if not message["success"]:
                        raise RuntimeError(message["output"])
                    break
        self.seconds.setdefault(what, []).append(time.perf_counter() - begin)
        return found

    async def live(self, seed: int, moves: int) -> None:
        """Open, upload, and move a slider."""
        begin = time.perf_counter()
        (await self.client.get("")).raise_for_status()
        self.seconds.setdefault("the page", []).append(time.perf_counter() - begin)
        redraw = self.event("temperature", "input", "new")
        shown = await self.ask("sample set", self.event(None, "load", "evidence-strip"))
        assert shown[self.ids["evidence-strip"]].count("<li") == 24
        await self.ask("the model's own", self.event(None, "load", "prior"))
        await self.ask("first pictures", redraw)
        begin = time.perf_counter()
        files = [("files", (f"{self.session}-{i}.png", face(seed * 1000 + i))) for i in range(PICTURES)]
        answer = await self.client.post(f"{API}upload", files=files)
        answer.raise_for_status()
        meta = {"_type": "gradio.FileData"}
        self.values[self.ids["evidence-files"]] = [
            {"path": path, "orig_name": name[1][0], "meta": meta}
            for path, name in zip(answer.json(), files, strict=True)
        ]
        shown = await self.ask("own pictures taken", self.event("evidence-files", "upload", "evidence-strip"))
        names = set(re.findall(r'<li title="([0-9a-f]+)-\d+\.png"', shown[self.ids["evidence-strip"]]))
        if names != {self.session}:
            raise RuntimeError(f"{self.session} sees pictures of {names}")
        seen = set()
        for move in range(moves):
            self.values[self.ids["temperature"]] = 1.0 - 0.05 * move
            what = "encoded and drawn" if move == 0 else "a slider moved"
            shown = await self.ask(what, redraw)
            seen.add(re.findall(r'src="([^"]+)"', shown[self.ids["new"]])[0])
        if len(seen) != moves:
            raise RuntimeError("a slider changed nothing")


def face(seed: int) -> bytes:
    """A drawn face as a file."""
    buffer = io.BytesIO()
    draw_face(np.random.default_rng(seed)).save(buffer, "PNG")
    return buffer.getvalue()


async def load(address: str, sessions: int, moves: int, memory: list[float], process: psutil.Process) -> dict[str, Any]:
    """Let sessions live at the same time; return seconds by what was asked, and errors."""
    seconds: dict[str, list[float]] = {}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=1200, limits=limits, trust_env=False) as client:
        config = (await client.get("config")).json()
        await Browser(client, config, {}).live(10**6, 2)  # the model is loaded
        memory.append(process.memory_info().rss)
        living = asyncio.gather(
            *(Browser(client, config, seconds).live(i, moves) for i in range(sessions)), return_exceptions=True
        )
        while not living.done():
            memory.append(process.memory_info().rss)
            await asyncio.wait([living], timeout=1)
        errors = [f"{type(error).__name__}: {error}" for error in living.result() if error is not None]
    return {"seconds": seconds, "errors": errors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--moves", type=int, default=5, help="times that a session moves a slider")
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    command = [sys.executable, "-m", "transflow", "app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = next(line for line in server.stdout if line.startswith("http://")).split()[0]
        process, memory = psutil.Process(server.pid), []
        begin = time.perf_counter()
        try:
            found = asyncio.run(load(address, options.sessions, options.moves, memory, process))
        finally:
            server.terminate()
    whole = time.perf_counter() - begin
    rows = [
        [what, len(all_), f"{statistics.median(all_):.2f}", f"{max(all_):.2f}"]
        for what, all_ in found["seconds"].items()
    ]
    print(table(["answer", "of them", "median (s)", "slowest (s)"], rows))
    megabytes = [value / 1e6 for value in memory]
    print(
        f"\n{options.sessions} sessions in {whole:.0f} s; errors: {len(found['errors'])} {set(found['errors']) or ''}"
    )
    print(f"resident memory of the server: {megabytes[0]:.0f} MB with one session, {max(megabytes):.0f} MB at most")
    if options.output:
        write_json(options.output, {**found, "megabytes": megabytes, "whole": whole, **setting(0)})


if __name__ == "__main__":
    main()
