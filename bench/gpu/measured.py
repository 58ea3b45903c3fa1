"""Reads what run.sh's steps left, and compares the two sides. Python's standard library only."""
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


def devices(doctor):
    """The names of those in doctor.json."""
    return [d.get("Name") or d.get("name") or "?" for d in (doctor.get("cuda") or {}).get("devices") or []]


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


def out_of_time(code, cause=""):
    """Whether time ended it: the time that it had, or Go's own limit just before."""
    return str(code) in STOPPED or cause.startswith("panic: test timed out")


def ended(code):
    """An exit code in words."""
    return "not begun: no time was left" if code is None else "did not end in time" if str(code) in STOPPED else f"exit code {code}"


def read_tests(log):
    """Counts by kind (gpu, others), names, and how those did that ran once more alone. Of a package that was tested twice
    the later time counts. The others come last, in what time is left: where that ends they are not finished, nor failed."""
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
    failures, skipped, not_begun, unfinished = [], [], [], []
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
        if kind == "others" and out_of_time(code, cause):
            unfinished.append(f"{package} ({kind})")
        elif code and (code != 1 or not failed):  # 1 is what tests that fail end with
            during = f", during {running}" if running and running not in [name for *_, name in results] else ""
            failures.append(f"{package} ({kind}): {ended(code)}{during}" + (f": {cause}" if cause else ""))
            out[kind]["failed"] += 1
    return dict(out, failures=failures, gpu_skipped=skipped, not_begun=not_begun, unfinished=unfinished, alone=alone)


def open_tests(t, kind):
    """The packages whose tests of the kind did not come to an end for want of time."""
    return [name for name in t["not_begun"] + t["unfinished"] if name.endswith(f"({kind})")]


def tests_pass(t, kind):
    """True or false; None where not all ran."""
    counts = t[kind]
    if counts["failed"] or kind == "gpu" and counts["skipped"]:
        return False
    return None if open_tests(t, kind) or not sum(counts.values()) else True


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


def tests_line(t, kind):
    n, late = t[kind], open_tests(t, kind)
    return f"{n['passed']} passed, {n['failed']} failed, {n['skipped']} skipped" + (f"; not finished: {', '.join(late)}" if late else "")


# ---- thaw bench

SPEED = re.compile(r"^(\S+) +(eager|graph|cached) +([0-9.]+) samples/s +([0-9.]+) GB$")
FAILED = re.compile(r"^(\S+) +(eager|graph|cached) +(?:failed: (.*)|(was not captured: .*))$")
WARNED = re.compile(r"^(\S+) +(eager|graph|cached) +warning: (.*)$")
PART = re.compile(r"^== pass (\d+) (\S+)$")
EXIT = re.compile(r"== (?:exit (\d+)|(not begun))$")
UNRECORDED = "was not captured: "  # what thaw bench says of a graph that ran operator by operator


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
    """By case and mode: the median over the rounds of a call's passes. What was not captured in one has no speed."""
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
    """By case and mode: the median over the rounds; where none was measured, the error."""
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


# ---- both

PYTORCH, THAW = ("eager", "eager-unmasked", "compile", "graph"), ("eager", "graph", "cached")
RATIOS = ("to_eager", "to_unmasked", "to_best")


def fastest(modes, *names):
    """The best of the modes named, or None."""
    found = [modes[n] for n in names if modes.get(n, {}).get("samples_per_second")]
    return max(found, key=lambda m: m["samples_per_second"], default=None)


def speed(modes, name):
    return modes.get(name, {}).get("samples_per_second")


def ratio(ours, theirs):
    """Of the medians, and the least and the most that any two rounds give."""
    if not ours or not theirs:
        return None
    return dict(value=ours["samples_per_second"] / theirs["samples_per_second"],
                least=min(ours["rounds"]) / max(theirs["rounds"]), most=max(ours["rounds"]) / min(theirs["rounds"]))


def compare(thaw, peers):
    """A case's row of one call: what ran, and the ratios of the same step: what is cached is not. PyTorch's best is known
    where it compiled too. Where Thaw did not record a graph that it should have, its steps count as not measured."""
    unrecorded = str(thaw.get("graph", {}).get("error", "")).startswith(UNRECORDED)
    ours = None if unrecorded else fastest(thaw, "eager", "graph")
    return dict(
        unrecorded=unrecorded, pytorch={m: speed(peers, m) for m in PYTORCH}, thaw={m: speed(thaw, m) for m in THAW},
        to_eager=ratio(ours, fastest(peers, "eager")), to_unmasked=ratio(ours, fastest(peers, "eager-unmasked")),
        to_best=ratio(ours, fastest(peers, *PYTORCH) if speed(peers, "compile") else None),
        cached_to_eager=ratio(fastest(thaw, "cached"), fastest(peers, "eager")),
        memory={f"{who} {m}": modes.get(m, {}).get("peak_memory_bytes") or None
                for who, modes, names in (("PyTorch", peers, PYTORCH), ("Thaw", thaw, THAW)) for m in names},
        errors={f"{who} {m}": e["error"] for who, modes in (("PyTorch", peers), ("Thaw", thaw))
                for m, e in modes.items() if e.get("error")},
        warnings={m: e["warnings"] for m, e in thaw.items() if e["warnings"]},
    )


def sides(row):
    """Those that measured something, be it that a graph was not captured."""
    return {side for side in ("pytorch", "thaw") if any(row[side].values()) or side == "thaw" and row["unrecorded"]}


def compare_calls(calls):
    """A row a case, of one call: of the calls that measured both sides the last that has most of the ratios, else the last
    that has any figure. Where a graph was not captured, that call counts as one with most: one before must not hide it."""
    rows = []
    for case in dict.fromkeys(case for thaw, peers in calls for case in [*peers, *thaw]):
        of = [dict(compare(thaw.get(case, {}), peers.get(case, {})), call=at) for at, (thaw, peers) in enumerate(calls, 1)]
        ratios = [sum(bool(r[k]) for k in RATIOS) for r in of]
        row = max(of, key=lambda r: (max(ratios) if r["unrecorded"] else ratios[r["call"] - 1], len(sides(r)), r["call"]))
        # What another call could not do is told as well, unless it only had no time for what this one measured.
        errors = {w: e for r in of for w, e in r["errors"].items()} | row["errors"]
        measured = {f"{who} {m}" for who, side in (("PyTorch", "pytorch"), ("Thaw", "thaw")) for m, s in row[side].items() if s}
        row["errors"] = {w: e for w, e in errors.items() if not (w in measured and e.startswith("not begun"))}
        apart = len(sides(row)) < len(set().union(*map(sides, of)))  # no call measured both
        rows.append(dict(row, case=case, same_step="-real-" not in case, apart=apart))
    return rows


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
