"""Reads a saved spec with PyYAML (6.0.3), which knows YAML 1.1: every number must be one, every class text.

    THAW_SAVED_SPEC=/tmp/saved.yaml go test -run TestSavedNumbers ./recipe && python3 pyyaml.py /tmp/saved.yaml
"""
import sys
import yaml

spec = yaml.safe_load(open(sys.argv[1]))


def numbers(value, path=""):
    if isinstance(value, dict):
        for key, item in value.items():
            numbers(item, f"{path}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            numbers(item, f"{path}[{i}]")
    elif isinstance(value, str) and not path.startswith(".head.classes"):
        try:
            float(value)
        except ValueError:
            return
        raise SystemExit(f"{path}: {value!r} is text")


numbers(spec)
assert all(isinstance(c, str) for c in spec["head"]["classes"]), spec["head"]["classes"]
assert spec["phases"][0]["lr"] == 1e-5 and spec["optimizer"]["eps"] == 1e-6 and spec["data"]["test"] == 1e-5
print("PyYAML", yaml.__version__, "reads every number")
