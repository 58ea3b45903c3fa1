"""limit.py SECONDS COMMAND...   runs a command, and all that it starts, for so long at most

The exit code is the command's; 124 where it was told to end, 137 where it had to be killed, 128 and the signal's number where
this was told to end. As coreutils' timeout, whose command Ctrl-C does not reach. Python's standard library only.
"""
import os
import signal
import subprocess
import sys

GRACE = 5  # seconds to end in, once told


class Told(Exception):
    """A signal to end."""


def told(number, _):
    raise Told(number)


def tell(group, number):
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def main():
    signals = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    child = None
    try:
        for s in signals:
            signal.signal(s, told)
        child = subprocess.Popen(sys.argv[2:], preexec_fn=os.setpgrp)
        code = child.wait(float(sys.argv[1]))
        sys.exit(code if code >= 0 else 128 - code)
    except subprocess.TimeoutExpired:
        ended = 124
    except Told as t:
        ended = 128 + t.args[0]
    for s in signals:
        signal.signal(s, signal.SIG_IGN)
    if child:
        tell(child.pid, signal.SIGTERM)
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            ended = 137 if ended == 124 else ended
        tell(child.pid, signal.SIGKILL)  # what it started, too
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass  # it hangs in a driver, where no signal reaches it: what comes next does not wait for it
    sys.exit(ended)


if __name__ == "__main__":
    main()
