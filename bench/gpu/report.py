"""What run.sh says about the files it wrote. Python's standard library only.

report.py result MANIFEST OUT CLOCKS [FOLDER...]   writes OUT/result.json and OUT/result.md, and prints the latter; of the
                                                   files in OUT, or of several calls' in the folders
report.py doctor DOCTOR.json                       prints what the doctor found, in two lines
report.py problem DOCTOR.json CODE STDERR          prints what is wrong in one line, which it notes in the file where the
                                                   doctor could not; exit code 1 where there is no device
report.py tests TESTS.log                          prints how many tests passed
report.py unpassed TESTS.log PACKAGE A|B|...       prints which of these GPU tests to run once more
report.py missing TESTS.log PACKAGE A|B|...        prints which of these GPU tests did not pass, also those that did not run;
                                                   exit code 1 where there are any
report.py bench DIR LOG OUT.json                   joins the passes of thaw bench; of one that was killed, what it printed
report.py process NAME CODE STDERR                 prints the JSON line about a peer's process
report.py demo DEVICE CODE FOLDER                  prints the JSON line about a run of the demo

A CODE is an exit code, or "none" of what was not begun.
"""
import datetime
import json
import os
import re
import sys

from measured import (UNRECORDED, ended, join_bench, json_lines, read_bench, read_clocks, read_json, read_peers, read_tests,
                      not_passed, read_text, tests_line, unpassed)

# What must be reached: case, of PyTorch what, how many times that. See issue "The CUDA build, graphs, ...".
TARGETS = [
    ("bert-base-full-len128-bs16", "eager", 5.0),
    ("bert-base-full-len128-bs16", "best", 0.75),
    ("bert-base-full-len128-bs128", "eager", 1.15),
    ("resnet50-full-bs32", "eager", 1.8),
]
# The demo's accuracies may differ by one standard error of an accuracy near 0.83 on 1,061 texts: the GPU computes in
# bfloat16, and its dropout draws other numbers.
DEMO_TOLERANCE = 0.012
PYTORCH, THAW = ("eager", "compile", "graph"), ("eager", "graph", "cached")


def write(path, text):
    """Whole or not at all."""
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".tmp", path)


# ---- the result

def devices(doctor):
    """The names of those in doctor.json."""
    return [d.get("Name") or d.get("name") or "?" for d in (doctor.get("cuda") or {}).get("devices") or []]


def speed(modes, *names):
    """The best of the modes named."""
    found = [modes[n]["samples_per_second"] for n in names if modes.get(n, {}).get("samples_per_second")]
    return max(found, default=None)


def compare(thaw, peers):
    """A row a case: what ran, and the ratios of equal work: what is cached is not. PyTorch's best is known where it compiled
    too. Where Thaw did not record a graph that it should have, its steps count as not measured."""
    rows = []
    for case in list(dict.fromkeys([*peers, *thaw])):
        t, p = thaw.get(case, {}), peers.get(case, {})
        unrecorded = str(t.get("graph", {}).get("error", "")).startswith(UNRECORDED)
        ours = None if unrecorded else speed(t, "eager", "graph")
        eager, compiled, best = speed(p, "eager"), speed(p, "compile"), speed(p, "eager", "compile", "graph")
        rows.append(dict(
            case=case, in_thaw=case in thaw, equal_work="-real-" not in case, unrecorded=unrecorded,
            pytorch={m: speed(p, m) for m in PYTORCH}, thaw={m: speed(t, m) for m in THAW},
            to_eager=ours / eager if ours and eager else None,
            to_best=ours / best if ours and compiled else None,
            cached_to_eager=speed(t, "cached") / eager if speed(t, "cached") and eager else None,
            memory={f"{who} {m}": modes.get(m, {}).get("peak_memory_bytes") or None
                    for who, modes, names in (("PyTorch", p, PYTORCH), ("Thaw", t, THAW)) for m in names},
            errors={f"{who} {m}": e["error"] for who, modes in (("PyTorch", p), ("Thaw", t))
                    for m, e in modes.items() if e.get("error")},
            warnings={m: e["warnings"] for m, e in t.items() if e["warnings"]},
        ))
    return rows


def judge(rows, tests, demo):
    """The targets: what, what was reached, and whether that is enough: true, false, or null where it was not measured."""
    by_case, out = {r["case"]: r for r in rows}, []
    for case, of, least in TARGETS:
        row = by_case.get(case, {})
        reached = row.get(f"to_{of}")
        met = reached >= least if reached else None
        if row.get("unrecorded"):
            reached, met = "Thaw's graph was not recorded", False
        out.append(dict(target=f"{case}: at least {least} times PyTorch's {of}", met=met,
                        reached=round(reached, 3) if isinstance(reached, float) else reached))
    gpu, others = tests["gpu"], tests["others"]
    ran, bad = sum(gpu.values()), gpu["failed"] or gpu["skipped"] or others["failed"]
    missing = any(n.endswith("(gpu)") for n in tests["not_begun"])
    out.append(dict(target="every GPU test passes", reached=tests_line(tests), met=False if bad else None if missing or not ran else True))
    accuracy = {d["device"]: d.get("accuracy") for d in demo}
    on_gpu, on_cpu = accuracy.get("cuda"), accuracy.get("cpu")
    both = on_gpu is not None and on_cpu is not None
    out.append(dict(target=f"the demo reaches the CPU's accuracy on the GPU (within {DEMO_TOLERANCE})",
                    reached=f"{on_gpu:.4f} on the GPU, {on_cpu:.4f} on the CPU" if both else None,
                    met=on_gpu >= on_cpu - DEMO_TOLERANCE if both else None))
    return out


def manifest(path):
    """The lines "# name value" at its head."""
    return dict(re.findall(r"^# (\S+) (.+)$", read_text(path), re.M))


def gather(manifest_path, clocks, folders):
    """All there is in the folders, each with the files of a call. Of tests and demos the last of each counts."""
    texts = lambda name: [read_text(os.path.join(f, name)) for f in folders]  # noqa: E731
    objects = lambda name: [o for f in folders if (o := read_json(os.path.join(f, name)))]  # noqa: E731
    # A table that was made before knows the bundle that was measured, and the clocks, of which there is no other file.
    earlier = objects("result.json")
    made = [e["bundle"] for e in earlier if e.get("bundle")]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    seen = read_clocks(read_text(clocks))
    doctors = objects("doctor.json")
    rows = json_lines("\n".join(texts("peers.jsonl")))
    passes = [p for b in objects("bench.json") for p in b.get("passes") or []]
    peers, thaw, tests = read_peers(rows), read_bench(passes), read_tests("\n".join(texts("tests.log")))
    demo = list({r["device"]: r for r in json_lines("\n".join(texts("demo.log"))) if "device" in r}.values())
    comparisons = compare(thaw, peers)
    versions = [r["versions"] for r in rows if "versions" in r]
    return dict(
        date=min([e["date"] for e in earlier if e.get("date")], default=now), bundle=made[0] if made else manifest(manifest_path),
        doctor=max(doctors, key=lambda d: len(devices(d)), default=None), gpus=sorted({n for d in doctors for n in devices(d)}),
        pytorch=versions[0] if versions else None, clocks=[seen] if seen else [c for e in earlier for c in e.get("clocks") or []],
        comparisons=comparisons, targets=judge(comparisons, tests, demo), tests=tests, demo=demo,
        problems=[p for d in doctors for p in d.get("problems") or []],
        bench={"passes": passes}, peers=[r for r in rows if "versions" not in r],
    )


def number(x, digits=0):
    return "-" if x is None else f"{x:,.{digits}f}"


NOTES = """Samples a second, medians. Ratios are of equal work: Thaw's eager or graph, the faster, to PyTorch's eager, and to the
fastest of PyTorch's three where it compiled too. What is cached does less work: the frozen layers ran before. Frozen
layers are in evaluation mode on both sides. Rows with a * are not of equal work: Thaw fills batches of up to 8 padded
lengths from sorted rows, the peer pads shuffled batches to their longest."""
MASK_NOTE = """Of PyTorch's best: transformers' graph and compile carry an attention mask of all ones (masking_utils leaves it out
only where nothing is traced); its eager carries none, and waits for the GPU to find out. Thaw has none where no text is
padded."""
MEMORY_NOTE = """Peak memory in MB: what each allocator took of the GPU at most in the rounds that were timed, with what recordings
keep. On a CPU it is the process's memory."""


def clocks_line(c):
    units = (("sm_mhz", "SM {} MHz"), ("memory_mhz", "memory {} MHz"), ("watts", "{} W"), ("celsius", "{} °C"))
    parts = [form.format("/".join(number(c[key][m]) for m in ("min", "median", "max"))) for key, form in units if c.get(key)]
    return f"Clocks, least/median/most of {c['readings']} readings, idle ones too: " + " · ".join(parts)


def mistakes(r):
    """What went wrong, a line each."""
    lines = [f"the doctor: {p}" for p in r["problems"]]
    if len(r["gpus"]) > 1:
        lines.append(f"the calls ran on different GPUs, whose speeds do not compare: {', '.join(r['gpus'])}")
    lines += [f"{c['case']}, {what}: {why}" for c in r["comparisons"] for what, why in c["errors"].items()]
    for p in r["peers"]:
        if p.get("process") and p.get("exit") != 0:
            last = p["stderr"].splitlines()[-1] if p.get("stderr") else ""
            lines.append(f"gpu_steps.py ({p['process']}): {ended(p.get('exit'))}" + (f": {last}" if last else ""))
    for p in r["bench"]["passes"]:
        last = f", after {p['results'][-1]['case']}, {p['results'][-1]['mode']}" if p.get("results") else ", before anything was measured"
        if p.get("not_begun"):
            lines.append(f"thaw bench, pass {p['pass']} ({p['part']}): {ended(None)}")
        elif p.get("ended_early"):
            lines.append(f"thaw bench, pass {p['pass']} ({p['part']}): ended early{last}")
    lines += [f"tests of {n}: {ended(None)}" for n in r["tests"]["not_begun"]]
    lines += [f"demo on {d['device']}: {ended(d.get('exit'))}" for d in r["demo"] if d.get("exit") != 0]
    return lines


def alone_lines(alone):
    """How the tests of each package did that ran once more, each in a process of its own."""
    lines = []
    for package, tests in alone.items():
        passing = [name for name, how in tests.items() if how == "passes"]
        lines += [f"{package}: pass alone: {', '.join(passing)}"] if passing else []
        lines += [f"{package}.{name}, alone: {how}" for name, how in tests.items() if how != "passes"]
    return lines


def table(r):
    doctor, peer, bundle = r["doctor"] or {}, r["pytorch"] or {}, r["bundle"]
    cuda = doctor.get("cuda") or {}
    lines = [
        "# Thaw beside PyTorch", "",
        f"{r['date']} · {', '.join(devices(doctor)) or peer.get('gpu') or 'no GPU'} · driver {peer.get('driver') or '?'} "
        f"(CUDA {cuda.get('driver', '?')}) · {doctor.get('cores', '?')} cores",
        "",
        f"Thaw {doctor.get('thaw', '?')} at {bundle.get('commit', '?')} · libtorch {doctor.get('libtorch', '?')} · cuDNN {cuda.get('cudnn', '?')} · "
        f"PyTorch {peer.get('torch', '?')} · torchvision {peer.get('torchvision', '?')} · transformers {peer.get('transformers', '?')}",
        "", *[line for c in r["clocks"] for line in (clocks_line(c), "")],
        NOTES, "",
        "| case | PyTorch eager | compile | graph | Thaw eager | graph | cached | to eager | to best |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for c in r["comparisons"]:
        thaw = [number(c["thaw"][m]) for m in THAW] if c["in_thaw"] else ["no Thaw case yet", "", ""]
        lines.append(f"| {c['case']}{'' if c['equal_work'] else ' *'} | " + " | ".join(
            [number(c["pytorch"][m]) for m in PYTORCH] + thaw + [number(c["to_eager"], 2), number(c["to_best"], 2)]) + " |")
    verdict = {True: "pass", False: "FAIL", None: "not measured"}
    lines += ["", "| target | reached | |", "|---|---|---|"]
    lines += [f"| {t['target']} | {t['reached'] if t['reached'] is not None else '-'} | {verdict[t['met']]} |" for t in r["targets"]]
    lines += ["", MASK_NOTE]
    held = [c for c in r["comparisons"] if any(c["memory"].values())]
    if held:
        lines += ["", MEMORY_NOTE, "", "| case | PyTorch eager | compile | graph | Thaw eager | graph | cached |", "|---|---:|---:|---:|---:|---:|---:|"]
        lines += [f"| {c['case']} | " + " | ".join(number(bytes and bytes / 1e6) for bytes in c["memory"].values()) + " |" for c in held]
    warned = [f"{c['case']}, Thaw {mode}: {w}" for c in r["comparisons"] for mode, ws in c["warnings"].items() for w in ws]
    for title, names in (
        ("Tests that failed", r["tests"]["failures"]),
        ("GPU tests once more, each in a process of its own", alone_lines(r["tests"]["alone"])),
        ("GPU tests that were skipped", r["tests"]["gpu_skipped"]), ("Warnings", warned), ("Errors", mistakes(r)),
    ):
        if names:
            lines += ["", f"{title}:", "", *[f"- {' '.join(n.split())[:600]}" for n in names]]  # libtorch's errors have many lines
    return "\n".join(lines) + "\n"


# ---- the commands

def result(manifest_path, out, clocks, *folders):
    for f in folders:
        if not os.path.isdir(f):
            sys.exit(f"thaw: there is no folder {f}: name those with the files of run.sh's calls")
    r = gather(manifest_path, clocks, folders or [out])
    text = table(r)
    write(os.path.join(out, "result.json"), json.dumps(r, indent=1) + "\n")
    write(os.path.join(out, "result.md"), text)
    print(text, end="")


def doctor(path):
    d = read_json(path) or {}
    cuda = d.get("cuda") or {}
    print(f"thaw {d.get('thaw')} · libtorch {d.get('libtorch')} in {d.get('libtorch_path')}")
    print(f"driver {cuda.get('driver')} · runtime {cuda.get('runtime')} · cuDNN {cuda.get('cudnn')} · NCCL {cuda.get('nccl')} · "
          + ", ".join(f"cuda:{i} {name}" for i, name in enumerate(devices(d))))


def problem(path, code, stderr):
    d = read_json(path)
    if d is None:  # it crashed, or did not end in time: whether there is a device is not known
        last = (read_text(stderr).strip().splitlines() or [""])[-1]
        d = dict(problems=[f"the doctor itself: {ended(int(code))}" + (f": {last}" if last else "")])
        write(path, json.dumps(d) + "\n")
        print(d["problems"][0])
        return
    # "cuda: cuda: devices: no driver ..." is told by its end; one mishap may be met twice.
    problems = [re.sub(r"^(cuda: )+([a-z]+: )?", "", p) for p in d.get("problems") or []]
    print("; ".join(dict.fromkeys(problems)).replace("\n", " ") or f"{ended(int(code))}, and no word why")
    if not devices(d):
        sys.exit(1)


def missing(log, package, names):
    if absent := not_passed(read_text(log), package, names.split("|"), "PASS"):
        print(f"== {package} gpu did not pass: {', '.join(absent)}")
        sys.exit(1)


def bench(folder, log, out):
    write(out, json.dumps({"passes": join_bench(folder, read_text(log))}, indent=1) + "\n")


def process(name, code, stderr):
    print(json.dumps(dict(process=name, exit=None if code == "none" else int(code), stderr=read_text(stderr)[-4000:])))


def demo(device, code, folder):
    row, summary = dict(device=device, exit=None if code == "none" else int(code)), read_json(os.path.join(folder, "summary.json"))
    if summary:
        row.update(accuracy=summary["best"]["accuracy"], last_accuracy=summary["last"]["accuracy"], rows=summary["best"]["rows"],
                   samples_per_second=summary["samples_per_second"], seconds=summary["seconds"],
                   peak_device_memory_bytes=summary.get("peak_device_memory_bytes", 0))
    print(json.dumps(row))


def main():
    commands = dict(result=result, missing=missing, doctor=doctor, problem=problem, bench=bench, process=process, demo=demo,
                    tests=lambda log: print(tests_line(read_tests(read_text(log)))),
                    unpassed=lambda log, package, names: print("\n".join(unpassed(read_text(log), package, names.split("|")))))
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
