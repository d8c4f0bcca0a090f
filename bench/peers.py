"""Runs other scanners over the labelled corpus beside Warden and prints a table.

Usage: python3 bench/peers.py WARDEN CORPUS NAME=FOLDER… [inputs=FOLDER]

NAME is picklescan, modelscan or fickling; FOLDER is where its package lies in
a checkout outside this tree. A peer that cannot be imported is reported, not
left out. Each file is scanned in its own call with 20 seconds at most, nothing
is unpickled, and nothing leaves the machine. "Flagged" means: Warden malicious
or unsafe; picklescan issues above 0 (strict: also "suspicious"); modelscan
issues above 0; fickling severity above LIKELY_SAFE.
"""

import csv
import importlib
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
import zipfile

LIMIT = 20  # seconds for one file


def picklescan(strict):
    scanner = importlib.import_module("picklescan.scanner")

    def scan(path):
        found = scanner.scan_file_path(path)
        if not strict:
            return found.issues_count > 0
        bad = [g for g in found.globals if g.safety != scanner.SafetyLevel.Innocuous]
        return found.issues_count > 0 or len(bad) > 0

    return scan


def modelscan():
    module = importlib.import_module("modelscan.modelscan")
    settings = importlib.import_module("modelscan.settings").DEFAULT_SETTINGS

    def scan(path):
        return module.ModelScan(settings=settings).scan(path)["summary"]["total_issues"] > 0

    return scan


def fickling():
    loader = importlib.import_module("fickling.loader")
    safe = importlib.import_module("fickling.analysis").Severity.LIKELY_SAFE

    def scan(path):
        if zipfile.is_zipfile(path):
            found = loader.scan_zip_archive(path, graceful=True).values()
        else:
            found = [loader.scan_file(path, graceful=True)]
        return any(f.severity > safe for f in found)

    return scan


PEERS = {
    "picklescan": lambda: picklescan(False),
    "picklescan --strict": lambda: picklescan(True),
    "modelscan": modelscan,
    "fickling": fickling,
}


def wilson(k, n):
    """The 95 % interval of k out of n (Wilson, 1927)."""
    if n == 0:
        return 0.0, 1.0
    z, p = 1.959964, k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0, middle - half), min(1, middle + half)


class Late(Exception):
    pass


def late(*_):
    raise Late


def run(scan, path):
    """Returns flagged, seconds and what went wrong."""
    signal.alarm(LIMIT)
    began = time.perf_counter()
    try:
        flagged, fault = bool(scan(path)), ""
    except Late:
        flagged, fault = False, "timeout"
    except BaseException as e:  # a crash of a peer is a result
        flagged, fault = False, type(e).__name__
    finally:
        signal.alarm(0)
    return flagged, time.perf_counter() - began, fault


def warden(binary, corpus):
    out = subprocess.run([binary, "scan", "--format", "json", corpus], capture_output=True, check=False)
    doc = json.loads(out.stdout)
    return {os.path.relpath(t["path"], corpus): t["verdict"] in ("malicious", "unsafe") for t in doc["targets"]}


def share(k, n):
    low, high = wilson(k, n)
    return f"{k}/{n} ({low:.3f}–{high:.3f})"


def line(name, rows, results, times, faults):
    cells = []
    for family in (True, False):
        mine = [r for r in rows if (r["family"] == "pickle-family") == family]
        bad = [r for r in mine if r["label"] == "malicious" and (r["grade"] == "exec" or not family)]
        good = [r for r in mine if r["label"] == "benign"]
        cells.append(share(sum(results.get(r["path"], False) for r in bad), len(bad)))
        cells.append(share(sum(results.get(r["path"], False) for r in good), len(good)))
    speed = "–"
    if times:
        ordered = sorted(times)
        speed = f"{1000 * statistics.median(ordered):.2f} / {1000 * ordered[int(len(ordered) * 0.95)]:.0f}"
    print(f"| {name} | " + " | ".join(cells) + f" | {faults} | {speed} |", flush=True)


def commands(binary, inputs):
    """Times whole command lines: CPU seconds of the process and its children."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    lines = {
        "Warden": [binary, "scan", "-q", "--digest", "never"],
        "picklescan": [sys.executable, "-m", "picklescan", "-p"],
        "modelscan": [sys.executable, "-m", "modelscan.cli", "scan", "-p"],
    }
    print("\n| input | " + " | ".join(lines) + " |\n|---|" + "--:|" * len(lines))
    for name in sorted(os.listdir(inputs)):
        cells = []
        for command in lines.values():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(command + [os.path.join(inputs, name)], capture_output=True, env=env, check=False)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            cells.append(f"{seconds:.3f} s" + ("" if done.returncode in (0, 1, 3) else f" (exit {done.returncode})"))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main():
    binary, corpus = os.path.abspath(sys.argv[1]), sys.argv[2]
    folders = dict(arg.split("=", 1) for arg in sys.argv[3:])
    inputs = folders.pop("inputs", "")
    for folder in folders.values():
        sys.path.insert(0, folder)
    with open(os.path.join(corpus, "MANIFEST.tsv"), encoding="utf-8") as f:
        rows = [r for r in csv.DictReader(f, delimiter="\t") if r["label"] in ("malicious", "benign")]
    signal.signal(signal.SIGALRM, late)
    print("| tool | pickle family: recall, exec grade | false positives | others: recall, any grade | false positives | crashes, timeouts | median / p95 ms |")
    print("|---|---|---|---|---|--:|--:|")
    line("Warden", rows, warden(binary, corpus), [], 0)
    stdout = sys.stdout
    for name, make in PEERS.items():
        try:
            scan = make()
        except Exception as e:
            print(f"| {name} | could not be imported: {type(e).__name__}: {e} ||||||")
            continue
        results, times, faults = {}, [], 0
        for r in rows:
            with open(os.devnull, "w") as quiet:
                sys.stdout = sys.stderr = quiet
                try:
                    flagged, seconds, fault = run(scan, os.path.join(corpus, r["path"]))
                finally:
                    sys.stdout, sys.stderr = stdout, sys.__stderr__
            results[r["path"]] = flagged
            times.append(seconds)
            faults += fault != ""
        line(name, rows, results, times, faults)
    if inputs:
        commands(binary, inputs)


main()
