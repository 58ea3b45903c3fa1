"""Reads what run.sh's steps left in one folder or, of several calls, in several. Python's standard library only."""
import json
import os
import re
import statistics

STOPPED = {"124", "137", "143"}  # exit codes of what ran out of time


def read_json(path):
    """The object in a file; None where there is none."""
    try:
        with open(path, encoding="utf-8") as f:
            found = json.load(f)
            return found if isinstance(found, dict) else None
    except (OSError, ValueError):
        return None


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def json_lines(text):
    """The objects among the lines: a process that was stopped may have left half a line."""
    out = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                out.append(json.loads(line))
            except ValueError:
                pass
    return out


def median(values):
    return statistics.median(values) if values else None


# ---- tests

RESULT = re.compile(r"^(\s*)--- (PASS|FAIL|SKIP): (\S+)")
SECTION = re.compile(r"== (\S+) (gpu|others|alone (\S+)) (?:exit (\d+)|not begun)$")
MISSING = re.compile(r"^== (\S+) gpu did not pass: (.+)$")  # of a package whose tests did not fail
CAUSE = ("panic:", "FAIL:", "fatal error:", "SIG", "terminate called", "  what():")


def test_sections(log):
    """(package, kind, test, code, results, cause, running) of each: code is None where it was not begun, results are (of
    the top level, verdict, name), cause is what the program said when it broke, running the test that had begun last."""
    results, cause, running = [], "", None
    for line in log.splitlines():
        if found := SECTION.search(line):
            package, kind, test, code = found.groups()
            yield package, kind.split()[0], test, code and int(code), results, cause, running
            results, cause, running = [], "", None
        elif found := RESULT.match(line):
            results.append((not found[1], found[2], found[3]))
        elif line.startswith("=== RUN"):
            running = line.split()[-1]
        elif line.startswith(CAUSE) and not (cause.startswith("what():") and line.startswith("SIG")):
            cause = line.strip()


def ended(code):
    """An exit code in words."""
    return "not begun: no time was left" if code is None else "did not end in time" if str(code) in STOPPED else f"exit code {code}"


def read_tests(log):
    """Counts by kind (gpu, others), names, and how those did that ran once more alone. Of a package that was tested twice
    the later time counts."""
    sections, alone = {}, {}
    missing = {found[1]: found[2].split(", ") for line in log.splitlines() if (found := MISSING.match(line))}
    for package, kind, test, code, results, cause, running in test_sections(log):
        if kind == "alone":
            verdict = next((verdict for top, verdict, name in results if top and name == test), None)
            well = code == 0 and verdict in ("PASS", "SKIP")
            alone.setdefault(package, {})[test] = {"PASS": "passes", "SKIP": "is skipped"}[verdict] if well else (
                ended(code) + (f": {cause}" if cause and code is not None else ""))
            continue
        sections[package, kind] = code, results, cause, running
        if kind == "gpu":
            alone.pop(package, None)
    out = {kind: dict(passed=0, failed=0, skipped=0) for kind in ("gpu", "others")}
    failures, skipped, not_begun = [], [], []
    for (package, kind), (code, results, *_) in sections.items():
        if kind == "gpu" and code == 0:
            ran = [name for top, _, name in results if top]
            absent = [name for name in missing.get(package, []) if name not in ran]
            failures += [f"{package}.{name}: did not run" for name in absent]
            out["gpu"]["failed"] += len(absent)
    for (package, kind), (code, results, cause, running) in sections.items():
        if code is None:
            not_begun.append(f"{package} ({kind})")
            continue
        for top, verdict, name in results:
            if top:
                out[kind][{"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}[verdict]] += 1
            if verdict == "SKIP" and top and kind == "gpu":
                skipped.append(f"{package}.{name}")
        failed = [name for _, verdict, name in results if verdict == "FAIL"]
        failures += [f"{package}.{name}" for name in failed]
        if code and (code != 1 or not failed):  # 1 is what tests that fail end with
            during = f", during {running}" if running and running not in [name for *_, name in results] else ""
            failures.append(f"{package} ({kind}): {ended(code)}{during}" + (f": {cause}" if cause else ""))
            out[kind]["failed"] += 1
    return dict(out, failures=failures, gpu_skipped=skipped, not_begun=not_begun, alone=alone)


def not_passed(log, package, names, *enough):
    """Of the GPU tests of a package those that did not come to one of the verdicts that are enough."""
    passed = set()
    for p, kind, _, _, results, _, _ in test_sections(log):
        if (p, kind) == (package, "gpu"):
            passed = {name for top, verdict, name in results if top and verdict in enough}
    return [n for n in names if n not in passed]


def unpassed(log, package, names):
    """Those that did not pass; all where all passed and their process failed none the less."""
    return not_passed(log, package, names, "PASS", "SKIP") or names


def tests_line(t):
    counts = [f"{kind}: {n['passed']} passed, {n['failed']} failed, {n['skipped']} skipped"
              for kind, n in (("GPU tests", t["gpu"]), ("other tests", t["others"]))]
    if t["not_begun"]:
        counts.append(f"{len(t['not_begun'])} not begun")
    return "; ".join(counts)


# ---- thaw bench

SPEED = re.compile(r"^(\S+) +(eager|graph|cached) +([0-9.]+) samples/s +([0-9.]+) GB$")
FAILED = re.compile(r"^(\S+) +(eager|graph|cached) +(?:failed: (.*)|(was not recorded: .*))$")
WARNED = re.compile(r"^(\S+) +(eager|graph|cached) +warning: (.*)$")
PART = re.compile(r"^== pass (\d+) (\S+)$")
EXIT = re.compile(r"== (?:exit (\d+)|(not begun))$")
UNRECORDED = "was not recorded: "  # what thaw bench says of a graph that ran operator by operator


def printed_parts(log):
    """What thaw bench printed, by (pass, part): what it measured, and its exit code, "not begun", or None: it was killed."""
    parts, part = {}, dict(results=[])
    for line in log.splitlines():
        if found := PART.match(line):
            part = parts.setdefault((int(found[1]), found[2]), dict(results=[], exit=None))
        elif found := SPEED.match(line):
            speed = float(found[3])
            part["results"].append(dict(case=found[1], mode=found[2], samples_per_second=speed, rounds=[speed],
                                        peak_memory_bytes=int(float(found[4]) * 1e9)))
        elif found := FAILED.match(line):
            part["results"].append(dict(case=found[1], mode=found[2], error=found[3] or found[4]))
        elif (found := WARNED.match(line)) and part["results"]:
            part["results"][-1].setdefault("warnings", []).append(found[3])
        elif found := EXIT.search(line):
            part["exit"] = found[1] or found[2]
    return parts


def join_bench(folder, log):
    """The passes. What was stopped writes what it has measured so far, as a whole file, or nothing."""
    passes = []
    for (number, name), part in printed_parts(log).items():
        whole = read_json(os.path.join(folder, f"{number}-{name}.json"))
        row = {"pass": number, "part": name, **(whole or {"results": part["results"]})}
        if part["exit"] == "not begun":
            row["not_begun"] = True
        elif not whole or part["exit"] is None or part["exit"] in STOPPED:
            row["ended_early"] = True
        passes.append(row)
    return passes


def read_bench(passes):
    """By case and mode: the median over the rounds of all passes. What was not recorded in one has no speed."""
    out = {}
    for p in passes:
        for r in p.get("results") or []:
            entry = out.setdefault(r["case"], {}).setdefault(r["mode"], dict(rounds=[], passes=[], warnings=[]))
            entry["warnings"] += [w for w in r.get("warnings") or [] if w not in entry["warnings"]]
            if r.get("error"):
                if not str(entry.get("error", "")).startswith(UNRECORDED):
                    entry["error"] = r["error"]
            elif r.get("rounds"):
                entry["rounds"] += r["rounds"]
                entry["passes"].append(r["samples_per_second"])
                entry["peak_memory_bytes"] = max(r.get("peak_memory_bytes") or 0, entry.get("peak_memory_bytes") or 0)
    for modes in out.values():
        for entry in modes.values():
            unrecorded = str(entry.get("error", "")).startswith(UNRECORDED)
            entry["samples_per_second"] = None if unrecorded else median(entry["rounds"])
    return out


# ---- PyTorch

def read_peers(rows):
    """By case and mode: the median over the rounds of all calls; an error where none measured."""
    out = {}
    for r in rows:
        if "case" not in r:
            continue
        modes = out.setdefault(r["case"], {})
        if r.get("samples_per_second"):
            before = modes.get(r["mode"], {})
            rounds = before.get("rounds", []) + (r.get("rounds") or [r["samples_per_second"]])
            modes[r["mode"]] = dict(rounds=rounds, samples_per_second=median(rounds),
                                    peak_memory_bytes=max(r.get("peak_memory_bytes") or 0, before.get("peak_memory_bytes") or 0))
        elif r.get("error"):
            modes.setdefault(r["mode"], dict(error=r["error"]))
    return out


# ---- the GPU's clocks

CLOCKS = ("sm_mhz", "memory_mhz", "watts", "celsius")


def read_clocks(csv):
    """The least, the median and the most of each column that nvidia-smi wrote; None of no line."""
    columns = {name: [] for name in CLOCKS}
    for line in csv.splitlines():
        for name, value in zip(CLOCKS, line.split(",")):
            try:
                columns[name].append(float(value))
            except ValueError:  # "[N/A]", or half a line
                pass
    found = {name: dict(min=min(v), median=median(v), max=max(v)) for name, v in columns.items() if v}
    return dict(found, readings=max(map(len, columns.values()))) if found else None
