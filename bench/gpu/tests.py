"""tests.py FOLDER LOG gpu|others SECONDS LIBRARIES   runs the tests of the bundle in FOLDER, for so long at most

The GPU tests of every package that has some, or its others, with the libraries' path. Adds to the log, and prints how many
passed. GPU tests that did not pass run once more, each in a process of its own. Exit code 1 where one failed; where time
ended, the log says so. Python's standard library only.
"""
import os
import signal
import subprocess
import sys
import time

from measured import not_passed, read_tests, read_text, tests_line, tests_pass, unpassed

LEAST = {"others": 30}  # seconds to begin with, else 4: these take most of a minute
ALONE = 15  # seconds for a test on its own
TOLD = {128 + s for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}  # limit.py's exit codes where it was told to end


class Bundle:
    """The tests in a folder, which note what they do in a log."""

    def __init__(self, folder, log, libraries):
        self.folder, self.log, self.libraries = folder, log, libraries

    def note(self, line):
        print(line, flush=True)
        with open(self.log, "a", encoding="utf-8") as f:
            f.write(line + "\n")

    def run(self, package, section, seconds, *arguments):
        """A package's tests, as a section of the log, in the package's folder: their tables lie there. Gives their exit code."""
        seconds = int(seconds)
        if seconds < LEAST.get(section, 4):
            self.note(f"== {package} {section} not begun")
            return None
        command = ["python3", os.path.join(self.folder, "limit.py"), str(seconds), "env", f"LD_LIBRARY_PATH={self.libraries}", "./tests",
                   "-test.v", "-test.timeout", f"{seconds - 2}s", *arguments]  # Go's own limit tells what every goroutine waits for
        with open(self.log, "ab") as log:
            code = subprocess.call(command, cwd=os.path.join(self.folder, "tests", package), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            log.write(b"\n")  # a program that was stopped may have left half a line
        self.note(f"== {package} {section} exit {code}")
        if code in TOLD:
            sys.exit(code)
        return code

    def on_gpu(self, package, names, seconds):
        """The GPU tests of a package, each of which must have passed, not only none failed. Gives their exit code."""
        code = self.run(package, "gpu", seconds, "-test.run", f"^({names})$")
        absent = not_passed(read_text(self.log), package, names.split("|"), "PASS")
        if code == 0 and absent:
            self.note(f"== {package} gpu did not pass: {', '.join(absent)}")
        return code

    def alone(self, package, names, end):
        """Those that did not pass: after an error of CUDA's nothing in the same process works any more."""
        for name in unpassed(read_text(self.log), package, names.split("|")):
            self.run(package, f"alone {name}", min(ALONE, end - time.monotonic()), "-test.run", f"^{name}$")


def main():
    folder, log, kind, seconds, libraries = sys.argv[1:]
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, signal.SIG_IGN)  # limit.py is told too, and tells by its exit code
    end, bundle, broken = time.monotonic() + float(seconds), Bundle(folder, log, libraries), []
    packages = [line.split("\t") for line in read_text(os.path.join(folder, "tests.tsv")).splitlines()]
    for at, (package, names) in enumerate(packages):
        share = (end - time.monotonic()) * 2 / (len(packages) - at + 1)  # one that hangs must not keep the others from running
        if kind == "others":
            bundle.run(package, kind, share, "-test.skip", f"^({names})$")
        elif bundle.on_gpu(package, names, share):
            broken.append((package, names))
    for package, names in broken:
        bundle.alone(package, names, end)
    found = read_tests(read_text(log))
    print(f"{dict(gpu='GPU tests', others='other tests')[kind]}: {tests_line(found, kind)}")
    sys.exit(tests_pass(found, kind) is False)


if __name__ == "__main__":
    main()
