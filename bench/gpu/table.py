"""The table of a result, as Markdown. Python's standard library only."""
from measured import PYTORCH, RATIOS, STOPPED, THAW, devices, ended, sides


def number(x, digits=0):
    return "-" if x is None else f"{x:,.{digits}f}"


def spread(found, digits):
    """A ratio and, where there were several rounds, between what it lies."""
    if not found:
        return None
    value, least, most = (number(found[k], digits) for k in ("value", "least", "most"))
    return value if least == most else f"{value} ({least} to {most})"


NOTES = """Samples a second, medians; of a ratio in brackets the least and the most of any two rounds. Ratios are of the same step (same
loss, same gradients): Thaw's eager or graph, the faster, to PyTorch's eager, to its eager without a mask, and to the fastest
of PyTorch's where it compiled too. Of BERT's last layer Thaw computes only the token that the pooler reads
(docs/decisions/008): where all layers are trained 7 % less arithmetic than transformers, which computes all. What is cached
does less work: the frozen layers ran before. Frozen layers are in evaluation mode on both sides. Rows with a * are not of
the same step: Thaw fills batches of up to 8 padded lengths from sorted rows, the peer pads shuffled batches to their longest.

Both: bf16 autocast (on a CPU float32), fused AdamW for BERT and SGD with momentum for ResNet, dropout as published, no
clipping, 5 rounds of 0.4 s; of the cases with a target Thaw's in two passes around PyTorch's. Thaw copies every batch from
the host; the peer's lie on the GPU.

Masks: PyTorch's eager is what a user's loop runs by default: transformers is given a mask, here of ones only, and waits for
the GPU in each step to find that out; then its attention carries none. On texts of one length eager-unmasked, graph and
compile are given no mask and carry none, nor does Thaw."""
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
    for name in dict.fromkeys(name for c in r["calls"] for name in c["versions"]):
        different = dict.fromkeys(c["versions"][name] for c in r["calls"] if name in c["versions"])
        if len(different) > 1:
            lines.append(f"the calls are of different {'commits' if name == 'commit' else f'versions of {name}'}: {', '.join(different)}")
    apart = [c["case"] for c in r["comparisons"] if c["apart"]]
    if apart:
        lines.append(f"no call measured both sides, so there is no ratio: {', '.join(apart)}")
    lines += [f"{c['case']}, {what}: {why}" for c in r["comparisons"] for what, why in c["errors"].items() if not why.startswith("not begun")]
    for p in r["peers"]:
        if p.get("process") and p.get("exit") not in (0, None) and not cut(p["process"], p["exit"]):
            last = p["stderr"].splitlines()[-1] if p.get("stderr") else ""
            lines.append(f"gpu_steps.py ({p['process']}): {ended(p['exit'])}" + (f": {last}" if last else ""))
    lines += [f"{bench_part(p)}: ended early{last_measured(p)}" for p in r["bench"]["passes"] if p.get("ended_early") and not other(p["part"])]
    lines += [f"demo on {d['device']}: {ended(d['exit'])}" for d in r["demo"] if d.get("exit") not in (0, None)]
    return lines


def other(part):
    """Whether a part of bench or of peers has no targets: it takes what time is left, and is cut where that ends."""
    return part.startswith("others")


def cut(part, code):
    return other(part) and str(code) in STOPPED


def bench_part(p):
    return f"thaw bench, pass {p['pass']} ({p['part']})"


def last_measured(p):
    return f", after {p['results'][-1]['case']}, {p['results'][-1]['mode']}" if p.get("results") else ", before anything was measured"


def unfinished(r):
    """What time did not suffice for: in one line what was not begun, then what was cut."""
    begun = [bench_part(p) for p in r["bench"]["passes"] if p.get("not_begun")]
    begun += [f"gpu_steps.py ({p['process']})" for p in r["peers"] if p.get("process") and p.get("exit") is None]
    cases = {}
    for c in r["comparisons"]:
        for what, why in c["errors"].items():
            if why.startswith("not begun"):
                cases.setdefault(what, []).append(c["case"])
    begun += [f"{what} of {len(names)} cases" if len(names) > 3 else f"{what} of {', '.join(names)}" for what, names in cases.items()]
    begun += [f"tests of {n}" for n in r["tests"]["not_begun"]]
    begun += [f"demo on {d['device']}" for d in r["demo"] if d.get("exit", 0) is None]
    lines = [f"not begun: {'; '.join(begun)}"] if begun else []
    lines += [f"{bench_part(p)}: cut{last_measured(p)}" for p in r["bench"]["passes"] if p.get("ended_early") and other(p["part"])]
    lines += [f"gpu_steps.py ({p['process']}): cut" for p in r["peers"] if p.get("process") and cut(p["process"], p.get("exit"))]
    return lines + [f"tests of {n}: cut" for n in r["tests"]["unfinished"]]


def alone_lines(alone):
    """How the tests of each package did that ran once more, each in a process of its own."""
    lines = []
    for package, tests in alone.items():
        passing = [name for name, how in tests.items() if how == "passes"]
        late = [name for name, how in tests.items() if how.startswith("not begun")]
        lines += [f"{package}: pass alone: {', '.join(passing)}"] if passing else []
        lines += [f"{package}.{name}, alone: {how}" for name, how in tests.items() if name not in passing + late]
        lines += [f"{package}, alone: not begun: {', '.join(late)}"] if late else []
    return lines


def table(r):
    doctor, peer, bundle = r["doctor"] or {}, r["pytorch"] or {}, r["bundle"]
    cuda = doctor.get("cuda") or {}
    several = len(r["calls"]) > 1
    lines = [
        "# Thaw beside PyTorch", "",
        f"{r['date']} · {', '.join(devices(doctor)) or peer.get('gpu') or 'no GPU'} · driver {peer.get('driver') or '?'} "
        f"(CUDA {cuda.get('driver', '?')}) · {doctor.get('cores', '?')} cores",
        "",
        f"Thaw {doctor.get('thaw', '?')} at {bundle.get('commit', '?')} · libtorch {doctor.get('libtorch', '?')} · cuDNN {cuda.get('cudnn', '?')} · "
        f"PyTorch {peer.get('torch', '?')} · torchvision {peer.get('torchvision', '?')} · transformers {peer.get('transformers', '?')}",
        "",
    ]
    if several:
        dates = [f"{at}: {c['date'] or 'of unknown date'}" for at, c in enumerate(r["calls"], 1)]
        lines += [f"Made of {len(dates)} calls ({', '.join(dates)}). Each row is of the one call that its case names in brackets: the last "
                  "of those with the most ratios.", ""]
    lines += ["| target | reached | |", "|---|---|---|"]
    for t in r["targets"]:
        verdict = {True: "pass", False: "FAIL", None: "not finished" if t.get("late") else "not measured"}[t["met"]]
        lines.append(f"| {t['target']} | {'-' if t['reached'] is None else t['reached']} | {verdict} |")
    lines += [
        "", "| case | PyTorch eager | eager-unmasked | compile | graph | Thaw eager | graph | cached | to eager | to unmasked | to best |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for c in r["comparisons"]:
        lines.append(f"| {c['case']}{'' if c['same_step'] else ' *'}{' (%d)' % c['call'] if several and sides(c) else ''} | " + " | ".join(
            [number(c["pytorch"][m]) for m in PYTORCH] + [number(c["thaw"][m]) for m in THAW] + [spread(c[k], 2) or "-" for k in RATIOS]) + " |")
    lines += ["", NOTES, "", *[line for c in r["clocks"] for line in (clocks_line(c), "")]]
    held = [c for c in r["comparisons"] if any(c["memory"].values())]
    if held:
        lines += [MEMORY_NOTE, "", "| case | PyTorch eager | eager-unmasked | compile | graph | Thaw eager | graph | cached |",
                  "|---|---:|---:|---:|---:|---:|---:|---:|"]
        lines += [f"| {c['case']} | " + " | ".join(number(bytes and bytes / 1e6) for bytes in c["memory"].values()) + " |" for c in held]
        lines.append("")
    warned = [f"{c['case']}, Thaw {mode}: {w}" for c in r["comparisons"] for mode, ws in c["warnings"].items() for w in ws]
    for title, names in (
        ("Tests that failed", r["tests"]["failures"]),
        ("GPU tests once more, each in a process of its own", alone_lines(r["tests"]["alone"])),
        ("GPU tests that were skipped", r["tests"]["gpu_skipped"]), ("Warnings", warned), ("Errors", mistakes(r)),
        ("Not finished, as time ended", unfinished(r)),
    ):
        if names:
            lines += [f"{title}:", "", *[f"- {' '.join(n.split())[:600]}" for n in names], ""]  # libtorch's errors have many lines
    return "\n".join(lines[:-1]) + "\n"
